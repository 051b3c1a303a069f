"""Keeping what native libraries log off the terminal, and their errors for our messages.

LiteRT and the reader of MP3 in libsndfile write to file descriptor 2 and have no switch for it. Not about
Python's logging.
"""

from __future__ import annotations

import os
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

ERROR = "ERROR"


@dataclass
class NativeLog:
    """What was logged while `native_log_kept` was active; complete once it has ended."""

    lines: list[str] = field(default_factory=list)

    def errors(self) -> str:
        """The error lines, joined, "" where there were none."""
        return "; ".join(line for line in self.lines if ERROR in line)


@contextmanager
def native_log_kept() -> Iterator[NativeLog]:
    """Send file descriptor 2 to a temporary file for a while. Global to the process, so keep it short."""
    log = NativeLog()
    sys.stderr.flush()
    with tempfile.TemporaryFile() as kept:
        terminal = os.dup(2)
        try:
            os.dup2(kept.fileno(), 2)
            try:
                yield log
            finally:
                sys.stderr.flush()
                os.dup2(terminal, 2)
        finally:
            os.close(terminal)
            kept.seek(0)
            log.lines += kept.read().decode("utf-8", errors="replace").splitlines()
