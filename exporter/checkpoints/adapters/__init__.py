"""Adapters that change a checkpoint's weights as they are read.

Not about checkpoints of their own.
"""
