"""The quantised checkpoint on disk: begun, written a matrix at a time, finished, resumed, read.

Not about how codes are found (`exporter.quantization.methods`).
"""
