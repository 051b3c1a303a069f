"""GGUF checkpoints: llama.cpp's one file of metadata, vocabulary and tensors.

Not about any other layout.
"""
