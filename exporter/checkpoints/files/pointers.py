"""Pointers that Git LFS leaves in the place of large files, in a clone made without it.

Not about fetching what they point to.
"""

from __future__ import annotations

from pathlib import Path

from exporter.errors import CheckpointError

POINTER = b"version https://git-lfs.github.com/spec/"


def refuse_pointer(path: Path) -> None:
    """Raise CheckpointError for a pointer in the place of the file. Others read what cannot be read."""
    try:
        with path.open("rb") as file:
            found = file.read(len(POINTER))
    except OSError:
        return
    if found == POINTER:
        raise CheckpointError(
            path, "is a pointer of Git LFS, not the file itself", "run `git lfs pull` in the clone"
        )
