"""Figures of the docs, each printed by a command here. Never run as tests: machines are noisy."""
