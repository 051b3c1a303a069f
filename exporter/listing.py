"""`listed`: several words of a sentence in a row."""

from __future__ import annotations

from collections.abc import Iterable


def listed(words: Iterable[str]) -> str:
    """ "a", "a and b", "a, b and c"; at least one."""
    *others, last = words
    return f"{', '.join(others)} and {last}" if others else last
