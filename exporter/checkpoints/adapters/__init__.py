"""PEFT adapters that change a checkpoint's weights as they are read.

Each is read as peft 0.21 reads it, or refused by name. Not about checkpoints of their own.
"""
