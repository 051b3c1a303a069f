"""Reading byte ranges of checkpoint files with `pread`, and hashing them.

Why not map them: pages once touched stay in our resident memory, and with a 24 GB checkpoint that
is the difference between a laptop and a server. Not about any file format.
"""

from __future__ import annotations

import os
from pathlib import Path

from exporter.errors import CheckpointError
from runtimes.manifest import sha256_of


def read_range(path: Path, tensor: str, begin: int, count: int) -> bytes:
    """`count` bytes of `path` from byte `begin`; `tensor` is named in errors.

    Raises CheckpointError when the file is gone or has become shorter than its header says.
    """
    try:
        descriptor = os.open(path, os.O_RDONLY)
    except OSError as error:
        raise CheckpointError(
            path,
            f"tensor {tensor} cannot be read ({error.strerror})",
            "put the file back, or fetch it again",
        ) from error
    try:
        pieces = []
        at, left = begin, count
        while left:  # one pread returns at most 2 GiB
            piece = os.pread(descriptor, left, at)
            if not piece:
                raise CheckpointError(
                    f"{path} at byte {at}",
                    f"tensor {tensor} ends early",
                    "the file is truncated or damaged, fetch it again",
                )
            pieces.append(piece)
            at, left = at + len(piece), left - len(piece)
        return pieces[0] if len(pieces) == 1 else b"".join(pieces)
    finally:
        os.close(descriptor)


def sha256(path: Path) -> str:
    """Hex SHA-256 of a file. Raises CheckpointError when it cannot be read."""
    try:
        return sha256_of(path)
    except OSError as error:
        raise CheckpointError(
            path, f"cannot be read ({error.strerror})", "check the path and its permissions"
        ) from error
