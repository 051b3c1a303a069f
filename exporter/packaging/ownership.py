"""Whose directory is this? Ours carries a mark; one in use is locked by the process that uses it.

Uses flock(2), which the system releases when a process ends, in whatever way. Not about waiting
for anybody: nothing here blocks. Not about releases, which are known by their manifest (`replacing`).
"""

from __future__ import annotations

import fcntl
import os
from pathlib import Path

MARK_NAME = ".gemma-export"
MARK = "gemma-export made this directory for work under way, and deletes it with all that is in it.\n"


class Lock:
    """A held lock; `close` gives it up."""

    def __init__(self, descriptor: int | None) -> None:
        self._descriptor = descriptor

    def close(self) -> None:
        if self._descriptor is not None:
            os.close(self._descriptor)
            self._descriptor = None


def hold(directory: Path) -> Lock | None:
    """Make the directory this process's until the lock is closed or the process ends.

    None where somebody else holds it, or has just removed it. Where the file system has no locks, nobody
    can tell, and everybody gets one. Raises OSError for what cannot be opened.
    """
    descriptor = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(descriptor)
        return None
    except OSError:  # a network file system without locks
        os.close(descriptor)
        return Lock(None)
    if not _is_still(directory, descriptor):
        os.close(descriptor)
        return None
    return Lock(descriptor)


def owner_is_gone(directory: Path) -> bool:
    """Whether the process that made this directory has ended. False where nobody can tell."""
    try:
        descriptor = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW)
    except OSError:
        return False
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        return False
    finally:
        os.close(descriptor)
    return True


def mark(directory: Path) -> None:
    """Say in a directory, for whoever comes later, that all of it is ours."""
    (directory / MARK_NAME).write_text(MARK, encoding="utf-8")


def is_marked(directory: Path) -> bool:
    """Whether `mark` was here. A file that only has the mark's name is somebody else's.

    Half a mark is one where nothing is beside it: its writer was killed, or found the disk full.
    """
    path = directory / MARK_NAME
    try:
        if path.is_symlink() or path.stat().st_size > len(MARK):
            return False
        found = path.read_text(encoding="utf-8", errors="replace")
        return found == MARK or (MARK.startswith(found) and os.listdir(directory) == [MARK_NAME])
    except OSError:
        return False


def _is_still(directory: Path, descriptor: int) -> bool:
    """Whether the path still names what was opened: its owner may have removed it in between."""
    try:
        return os.path.samestat(os.stat(directory, follow_symlinks=False), os.fstat(descriptor))
    except FileNotFoundError:
        return False
