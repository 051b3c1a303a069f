"""Audio encoders: what there is to know of one, what it computes, and the operations it is made of.

Not about sound files or spectra (`runtimes.sounds`).
"""
