"""LiteRT: .tflite and .litertlm, written straight in the flatbuffer's own operations.

Not about running them (`runtimes.litert`).
"""
