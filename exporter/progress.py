"""`Progress`: how long work says how far it is. Not about showing it (`exporter.cli`)."""

from __future__ import annotations

from collections.abc import Callable

Progress = Callable[[str, int, int], None]
"""Called with (what is being done, bytes or steps done, total)."""
