"""`Progress`: how long work says how far it is. Not about showing it (`exporter.cli`)."""

from __future__ import annotations

from collections.abc import Callable

Progress = Callable[[str, int, int], None]
"""Called with (what is being done, bytes or steps done, total)."""


def about(progress: Progress, what_for: str) -> Progress:
    """The same, with what it is done for: the same work is done several times in a job, and a line of it
    has to tell which time it was."""
    return lambda what, done, total: progress(f"{what} ({what_for})", done, total)
