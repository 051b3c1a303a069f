"""Files that are there whole or not at all, whatever stops a run.

Not about what is in them.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any

PARTIAL = ".partial"


@contextmanager
def whole_file(path: Path) -> Iterator[IO[bytes]]:
    """A file to write that takes its name, synced, when the block ends, and is gone when it fails.

    A killed run leaves `path` with PARTIAL added to its name at most.
    """
    partial = path.with_name(path.name + PARTIAL)
    try:
        with partial.open("wb") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        partial.replace(path)
    except BaseException:
        partial.unlink(missing_ok=True)
        raise
    sync_directory(path.parent)


def write_json(path: Path, value: Mapping[str, Any]) -> None:
    """Write a JSON file. The same value gives the same bytes."""
    with whole_file(path) as file:
        file.write(json.dumps(value, indent=1, sort_keys=True).encode())


def sync_directory(directory: Path) -> None:
    """Make renames in a directory last, where the system can."""
    if os.name != "posix":
        return  # Windows cannot open a directory
    descriptor = os.open(directory, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
