"""Faults put into copies of written artifacts, one module per runtime."""
