"""What quantising a checkpoint did to what it says: two sets of weights, texts, figures with errors.

Any weights the reference can be filled with, whoever quantised them. Not about artifacts and the runtimes
that execute them, nor about limits (`exporter.validation`).
"""
