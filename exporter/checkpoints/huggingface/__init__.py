"""Checkpoints as a Hugging Face directory: config.json, safetensors, a quantiser's traces; and the Hub.

Not about tokenizers (`tokenizer`) or GGUF.
"""
