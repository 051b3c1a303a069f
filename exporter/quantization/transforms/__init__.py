"""Exact rewritings of a model's weights that make them quantise better.

Not about finding codes.
"""
