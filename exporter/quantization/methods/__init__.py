"""Ways to find codes and scales for a matrix.

Not about where they are stored (`exporter.quantization.store`) or what is rewritten before (`transforms`).
"""
