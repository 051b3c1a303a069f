"""`Crossing`: what one stage of a twin hands to later ones, call by call, kept in scratch files.

A route is run stage after stage, so every call's results wait until the next stage is open: on disk,
where they cost page cache but none of our memory.
"""

from __future__ import annotations

import os
from collections.abc import Collection
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
from numpy.typing import NDArray

Key = tuple[str, str]
"""Signature key and name of the tensor."""


class Crossing:
    """One file for each tensor, its value at the signature's n-th call in the n-th place."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self._files: dict[Key, BinaryIO] = {}

    def put(self, key: Key, call: int, values: NDArray[Any]) -> None:
        """Keep values [calls, ..] of a call and those after it. All of one key are of the same size."""
        if key not in self._files:
            self._files[key] = self._path(key).open("w+b", buffering=0)
        view = np.ascontiguousarray(values).reshape(-1).view(np.uint8).data
        at = call * (len(view) // len(values))
        while view:
            count = os.pwrite(self._files[key].fileno(), view, at)
            view, at = view[count:], at + count

    def get(self, key: Key, call: int, count: int, size: int) -> NDArray[np.uint8]:
        """What was put for `count` calls from one on, each of `size` bytes: [count, size]."""
        data = os.pread(self._files[key].fileno(), count * size, call * size)
        return np.frombuffer(data, np.uint8).reshape(count, size)

    def keep(self, keys: Collection[Key]) -> None:
        """Delete all others."""
        for key in set(self._files) - set(keys):
            self._files.pop(key).close()
            self._path(key).unlink()

    def close(self) -> None:
        self.keep(())

    def _path(self, key: Key) -> Path:
        return self._directory / "-".join(key)
