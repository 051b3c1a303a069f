"""`Spill`: activations that wait for the next layer, in memory up to a bound and beyond it on disk.

Not a format anyone ships: what lies on disk is in a temporary directory that goes with the object.
"""

from __future__ import annotations

import tempfile
from collections.abc import Hashable
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

MEMORY_BYTES = 512 << 20


class Spill:
    """Float32 tensors by key. most: bytes kept in memory. directory: where to spill, None for the
    system's own place."""

    def __init__(self, most: int = MEMORY_BYTES, directory: Path | None = None) -> None:
        self._most, self._directory = most, directory
        self._held: dict[Hashable, Tensor] = {}
        self._spilled: dict[Hashable, tuple[Path, tuple[int, ...]]] = {}
        self._place: tempfile.TemporaryDirectory[str] | None = None
        self._made = 0

    @property
    def held_bytes(self) -> int:
        """Of the tensors in memory."""
        return sum(each.nbytes for each in self._held.values())

    @property
    def spilled_bytes(self) -> int:
        """Of the tensors on disk."""
        return sum(path.stat().st_size for path, _ in self._spilled.values())

    def put(self, key: Hashable, values: Tensor) -> None:
        """Keep a tensor, in place of what had this key."""
        self.drop(key)
        if self.held_bytes + values.nbytes <= self._most:
            self._held[key] = values
            return
        if self._place is None:
            self._place = tempfile.TemporaryDirectory(prefix="activations-", dir=self._directory)
        path = Path(self._place.name, str(self._made))
        self._made += 1
        np.ascontiguousarray(values.numpy()).tofile(path)
        self._spilled[key] = path, tuple(values.shape)

    def get(self, key: Hashable) -> Tensor:
        """The tensor of a key, a copy of its own where it was on disk."""
        if key in self._held:
            return self._held[key]
        path, shape = self._spilled[key]
        return torch.from_numpy(np.fromfile(path, np.float32).reshape(shape))

    def drop(self, key: Hashable) -> None:
        """Forget a key, if it is there."""
        self._held.pop(key, None)
        if (spilled := self._spilled.pop(key, None)) is not None:
            spilled[0].unlink()

    def close(self) -> None:
        """Forget everything, on disk too."""
        self._held.clear()
        self._spilled.clear()
        if self._place is not None:
            self._place.cleanup()
            self._place = None
