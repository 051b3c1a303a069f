"""Ways to find the codes of a matrix: rows, a scheme and what else is known in, codes out.

Not about where they are stored (`exporter.quantization.store`) or what is rewritten before (`transforms`).
"""
