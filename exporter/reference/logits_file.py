"""`LogitsFile`: logits of many positions on disk, written by rows or by columns, read by rows.

A reference's logits are 1 MiB a position; kept in a file and read with `pread`, they cost disk and
page cache but none of our memory. Not a format anyone ships: the file is deleted after use.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from exporter.errors import ReferenceModelError
from runtimes.session import Logits


@dataclass(frozen=True)
class LogitsFile:
    """float32 [positions, vocab], row after row."""

    path: Path
    positions: int
    vocab: int

    @staticmethod
    def create(path: Path, positions: int, vocab: int) -> LogitsFile:
        """Make the file at its full size, so that a disk too small is refused before any work."""
        size = positions * vocab * 4
        try:
            with path.open("wb") as file:
                if hasattr(os, "posix_fallocate"):  # not on macOS
                    os.posix_fallocate(file.fileno(), 0, size)
                file.truncate(size)
        except OSError as error:
            path.unlink(missing_ok=True)
            raise ReferenceModelError(
                path,
                f"{size >> 20} MiB of logits cannot be kept there ({error.strerror})",
                "free that much space, or name a scratch directory on a larger disk",
            ) from error
        return LogitsFile(path, positions, vocab)

    def write_rows(self, start: int, rows: Logits) -> None:
        """Positions start onwards from rows [n, vocab]."""
        with self.path.open("r+b", buffering=0) as file:
            _write(file.fileno(), rows, start * self.vocab * 4)

    def write_columns(self, start: int, block: Logits) -> None:
        """Every position's tokens start onwards from block [positions, n]."""
        with self.path.open("r+b", buffering=0) as file:
            for position, row in enumerate(block):
                _write(file.fileno(), row, (position * self.vocab + start) * 4)

    def rows(self, start: int, stop: int) -> Logits:
        """Positions start to stop, [stop - start, vocab]."""
        found = np.empty((stop - start, self.vocab), np.float32)
        view = found.reshape(-1).view(np.uint8).data
        at = start * self.vocab * 4
        with self.path.open("rb", buffering=0) as file:
            while view:  # one pread returns at most 2 GiB
                count = os.preadv(file.fileno(), [view], at)
                if count == 0:
                    raise ReferenceModelError(self.path, "is shorter than it was made", "validate again")
                view, at = view[count:], at + count
        return found

    def delete(self) -> None:
        self.path.unlink(missing_ok=True)


def _write(descriptor: int, rows: NDArray[np.float32], at: int) -> None:
    view = np.ascontiguousarray(rows).reshape(-1).view(np.uint8).data
    while view:
        count = os.pwrite(descriptor, view, at)
        view, at = view[count:], at + count
