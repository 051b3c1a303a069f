"""Hypothesis for a suite that must give the same answer on a busy machine: no deadlines, fixed seeds."""

from __future__ import annotations

from hypothesis import settings

settings.register_profile("reproducible", deadline=None, derandomize=True)
settings.load_profile("reproducible")
