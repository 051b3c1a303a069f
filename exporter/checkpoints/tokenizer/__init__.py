"""The vocabulary of a checkpoint, and what lies beside it: written as tokenizer.json whatever it came as.

Not about weights.
"""
