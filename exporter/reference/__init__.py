"""transformers as the reference: a streamed forward pass, what enters its linears, logits on disk, texts.

Below quantisation, so that calibration and validation use the same one. Not about judging anything.
"""
