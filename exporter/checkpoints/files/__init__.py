"""Bytes of a checkpoint, read strictly and a range at a time.

Not about what they mean to a model (`huggingface`, `gguf`, `adapters`) or a tokenizer (`tokenizer`).
"""
