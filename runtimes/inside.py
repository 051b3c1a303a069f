"""Whether a path stays in its directory once links are followed: nothing outside is ever read.

Not about what lies there. Names come from files somebody else wrote, so every one of them is asked.
"""

from __future__ import annotations

from pathlib import Path

LONGEST_PATH = 200  # letters: short enough for errors to repeat, and for every file system


def is_inside(directory: Path, path: Path) -> bool:
    """Whether `path` is in `directory`, all links of both followed. False for a loop and for a name no file
    can have."""
    try:
        return path.resolve().is_relative_to(directory.resolve())
    except (OSError, RuntimeError, ValueError):  # RuntimeError: a loop, before Python 3.13
        return False


def is_plain_path(name: str) -> bool:
    """Whether a name is a relative path with forward slashes that climbs nowhere, as written."""
    parts = name.split("/")
    return (
        len(name) <= LONGEST_PATH
        and not any(part in ("", ".", "..") for part in parts)
        and not set(name) & set("\0\\")
    )
