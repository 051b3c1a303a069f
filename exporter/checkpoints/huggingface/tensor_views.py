"""Stored tensors as the weights that our graphs have: rows of two axes, in the order they are used.

Most lie in the file as they are wanted. A projection may lie transposed, a filter with four axes, two
tables in one tensor. Every view reads just what the rows asked for are in. Not about names
(`tower_tensors`).
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from exporter.checkpoints.files.tensor_values import as_float32
from exporter.checkpoints.huggingface.weight_files import StoredTensor
from exporter.checkpoints.interface import SourceTensor

AT_ONCE = 8 << 20  # bytes of a tensor read across its rows


class TensorView(Protocol):
    """One weight. stored: where it lies, maybe beside another."""

    @property
    def stored(self) -> StoredTensor: ...

    @property
    def shape(self) -> tuple[int, ...]: ...

    def rows(self, start: int, stop: int) -> NDArray[np.float32]:
        """Raises CheckpointError for data that cannot be read, not for values that are no numbers."""
        ...


@dataclass(frozen=True)
class InOrder:
    """Rows one behind the other: axes behind the first may be one or several in the file, and a single
    number is a vector of one."""

    stored: StoredTensor
    shape: tuple[int, ...]

    def rows(self, start: int, stop: int) -> NDArray[np.float32]:
        row = math.prod(self.shape[1:])
        return _numbers(self.stored, start * row, stop * row).reshape(stop - start, *self.shape[1:])


@dataclass(frozen=True)
class Transposed:
    """A matrix whose columns are the rows: read whole, a few of its rows at a time, for a few of them."""

    stored: StoredTensor

    @property
    def shape(self) -> tuple[int, ...]:
        return self.stored.header.shape[::-1]

    def rows(self, start: int, stop: int) -> NDArray[np.float32]:
        out, inputs = self.shape
        found = np.empty((stop - start, inputs), np.float32)
        step = max(1, AT_ONCE // (out * 4))
        for at in range(0, inputs, step):
            end = min(inputs, at + step)
            whole = _numbers(self.stored, at * out, end * out).reshape(end - at, out)
            found[:, at:end] = whole[:, start:stop].T
        return found


@dataclass(frozen=True)
class TableOf:
    """The first rows of one of the tables stored behind each other: [tables, rows, width]."""

    stored: StoredTensor
    table: int
    most: int

    @property
    def shape(self) -> tuple[int, ...]:
        _, rows, width = self.stored.header.shape
        return (min(rows, self.most), width)

    def rows(self, start: int, stop: int) -> NDArray[np.float32]:
        _, rows, width = self.stored.header.shape
        first = self.table * rows
        return _numbers(self.stored, (first + start) * width, (first + stop) * width).reshape(-1, width)


@dataclass(frozen=True)
class TableAmong:
    """One of the tables stored row by row beside each other: [rows, tables, width]."""

    stored: StoredTensor
    table: int

    @property
    def shape(self) -> tuple[int, ...]:
        rows, _, width = self.stored.header.shape
        return (rows, width)

    def rows(self, start: int, stop: int) -> NDArray[np.float32]:
        _, tables, width = self.stored.header.shape
        beside = _numbers(self.stored, start * tables * width, stop * tables * width)
        return beside.reshape(stop - start, tables, width)[:, self.table]


@dataclass(frozen=True)
class TapOf:
    """One number of each channel's own filter: [channels, 1, taps]."""

    stored: StoredTensor
    tap: int

    @property
    def shape(self) -> tuple[int, ...]:
        return (self.stored.header.shape[0],)

    def rows(self, start: int, stop: int) -> NDArray[np.float32]:
        taps = self.stored.header.shape[2]
        filters = _numbers(self.stored, start * taps, stop * taps).reshape(stop - start, taps)
        return np.ascontiguousarray(filters[:, self.tap])


def as_stored(stored: StoredTensor) -> InOrder:
    """A tensor of whatever shape the file gives it."""
    return InOrder(stored, stored.header.shape)


def described(name: str, view: TensorView) -> SourceTensor:
    """What is known of it before it is read."""
    header = view.stored.header
    size = header.nbytes // max(1, math.prod(header.shape))
    return SourceTensor(name, view.shape, header.dtype, math.prod(view.shape) * size)


def _numbers(stored: StoredTensor, start: int, stop: int) -> NDArray[np.float32]:
    """Entries start to stop of a tensor, flat."""
    header = stored.header
    size = header.nbytes // math.prod(header.shape)
    raw = stored.read(start * size, (stop - start) * size)
    return as_float32(raw, header.dtype, f"{stored.file.path}: {header.name}")
