"""Drivers that run a released artifact: prefill, decode, logits.

Not about making artifacts. This package imports numpy and, lazily, one vendor runtime per driver;
never torch and never `exporter`, so that a device can check a release with a light install.
"""
