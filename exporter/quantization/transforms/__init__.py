"""Exact rewritings of a model's weights that make them quantise better: a source in, a source out.

A transform is a function from a `CheckpointSource`, and whatever it must know beside, to a
`DerivedSource` that computes the same function. It may read every weight to find its factors; the source
it gives keeps those and rewrites rows as they are read, so a checkpoint never lies in memory and
transforms follow one another. It names what it rewrites (`rewritten`: the codes of those matrices cannot
be taken over) and adds to `digests` all that decides its values, so that a store never mixes two.

Not about finding codes.
"""
