"""Whose staging directory is this? A live process keeps a lock on its own; a dead one cannot.

Uses flock(2), which the system releases when a process ends, in whatever way. Not about waiting
for anybody: nothing here blocks.
"""

from __future__ import annotations

import fcntl
import os
from pathlib import Path


class Lock:
    """A held lock; `close` gives it up."""

    def __init__(self, descriptor: int | None) -> None:
        self._descriptor = descriptor

    def close(self) -> None:
        if self._descriptor is not None:
            os.close(self._descriptor)
            self._descriptor = None


def hold(directory: Path) -> Lock:
    """Mark the directory as this process's until the lock is closed or the process ends."""
    descriptor = os.open(directory, os.O_RDONLY)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        # Some network file systems have no locks: then nobody can tell, and nothing is removed.
        os.close(descriptor)
        return Lock(None)
    return Lock(descriptor)


def owner_is_gone(directory: Path) -> bool:
    """Whether the process that made this directory has ended. False where nobody can tell."""
    try:
        descriptor = os.open(directory, os.O_RDONLY)
    except OSError:
        return False
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        return False
    finally:
        os.close(descriptor)
    return True
