"""Weights as an adapter leaves them, row range by row range: what each part of an adapter does.

    low rank          W + scaling * B @ A               peft `Linear.get_delta_weight`, `Embedding.…`
    row magnitudes    m * W / |W| over each row          peft `DoraLinearVariant` (`column-wise`, it says)
    column magnitudes m * W / |W| over each column       peft `DoraEmbeddingVariant`
    rows replaced     some tokens' rows                  peft `TrainableTokensLayer`

All in float32, in peft's order of operations. Nothing of a matrix is kept but a vector: factors are
read again for each row range. Not about which weight gets which (`assembly`).
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from exporter.checkpoints.files.safetensors_file import ITEM_BYTES, SafetensorsFile, TensorHeader
from exporter.checkpoints.files.tensor_values import as_float32, require_finite
from exporter.checkpoints.interface import CheckpointSource

Values = NDArray[np.float32]
READ_AT_ONCE = 8 << 20  # bytes


class WeightRows(Protocol):
    """A weight that is read by rows: [rows, in], or a vector by entries."""

    @property
    def shape(self) -> tuple[int, ...]: ...

    def rows(self, start: int, stop: int) -> Values: ...


@dataclass(frozen=True)
class BaseWeight:
    """A weight as the base has it."""

    base: CheckpointSource
    name: str

    @property
    def shape(self) -> tuple[int, ...]:
        return self.base.tensors[self.name].shape

    def rows(self, start: int, stop: int) -> Values:
        return self.base.rows(self.name, start, stop)


@dataclass(frozen=True)
class StoredWeight:
    """A tensor of the adapter's own file, read where it lies."""

    file: SafetensorsFile
    header: TensorHeader

    @property
    def shape(self) -> tuple[int, ...]:
        return self.header.shape

    def rows(self, start: int, stop: int) -> Values:
        row = self.header.nbytes // self.shape[0]
        return self._read(start * row, (stop - start) * row).reshape(stop - start, *self.shape[1:])

    def columns(self, start: int, stop: int) -> Values:
        """Columns start to stop of a matrix, [rows, stop - start]: a piece is read of each row."""
        item = ITEM_BYTES[self.header.dtype]
        row = self.shape[1] * item
        pieces = (self._read(i * row + start * item, (stop - start) * item) for i in range(self.shape[0]))
        return np.stack(tuple(pieces))

    def all(self) -> Values:
        return self.rows(0, self.shape[0])

    def chunks(self) -> Iterator[tuple[int, Values]]:
        """All of it, some rows at a time: the first row's number, and the rows."""
        step = max(1, READ_AT_ONCE * self.shape[0] // max(1, self.header.nbytes))
        for start in range(0, self.shape[0], step):
            yield start, self.rows(start, min(self.shape[0], start + step))

    def is_zero(self) -> bool:
        """Whether every number is 0. Reads them all; raises CheckpointError for one that is not finite."""
        zero = True
        for start, values in self.chunks():
            require_finite(values, self.file.path, self.header.name, start)
            zero = zero and not values.any()
        return zero

    def _read(self, offset: int, count: int) -> Values:
        raw = self.file.read_bytes(self.header.name, offset, count)
        return as_float32(raw, self.header.dtype, f"{self.file.path}: {self.header.name}")


@dataclass(frozen=True)
class LowRank:
    """W + scaling * B @ A. A linear's down: [r, in], up: [out, r]. An embedding's down: [r, tokens],
    up: [hidden, r], and what is added is (B @ A) transposed."""

    origin: WeightRows
    down: StoredWeight
    up: StoredWeight
    scaling: float
    of_embedding: bool

    @property
    def shape(self) -> tuple[int, ...]:
        return self.origin.shape

    def rows(self, start: int, stop: int) -> Values:
        if self.of_embedding:
            delta = (self.up.all() @ self.down.columns(start, stop)).T
        else:
            delta = self.up.rows(start, stop) @ self.down.all()
        changed: Values = self.origin.rows(start, stop) + delta * np.float32(self.scaling)
        return changed


@dataclass(frozen=True)
class RowMagnitudes:
    """Each row made as long as `magnitude` [out] says."""

    direction: WeightRows
    magnitude: StoredWeight

    @property
    def shape(self) -> tuple[int, ...]:
        return self.direction.shape

    def rows(self, start: int, stop: int) -> Values:
        values = self.direction.rows(start, stop)
        lengths = np.sqrt(np.square(values, dtype=np.float64).sum(axis=1)).astype(np.float32)
        with np.errstate(
            divide="ignore", invalid="ignore"
        ):  # rows of zeros: found where values are handed on
            factors = self.magnitude.rows(start, stop) / lengths
            scaled: Values = factors[:, None] * values
        return scaled


@dataclass(frozen=True)
class ColumnMagnitudes:
    """Each column made as long as `magnitude` [hidden] says. The lengths take one reading of the matrix."""

    direction: WeightRows
    magnitude: StoredWeight

    @property
    def shape(self) -> tuple[int, ...]:
        return self.direction.shape

    def rows(self, start: int, stop: int) -> Values:
        scaled: Values = self._factors * self.direction.rows(start, stop)
        return scaled

    @cached_property
    def _factors(self) -> Values:
        count, width = self.shape
        squares = np.zeros(width, np.float64)
        step = max(1, READ_AT_ONCE // (width * 4))
        for start in range(0, count, step):
            values = self.direction.rows(start, min(count, start + step))
            squares += np.square(values, dtype=np.float64).sum(axis=0)
        with np.errstate(divide="ignore", invalid="ignore"):
            lengths: Values = np.sqrt(squares).astype(np.float32)
            factors: Values = self.magnitude.all() / lengths
        return factors


@dataclass(frozen=True)
class RowsReplaced:
    """Some rows, `tokens`, are the rows of `values` instead."""

    origin: WeightRows
    tokens: tuple[int, ...]
    values: StoredWeight

    @property
    def shape(self) -> tuple[int, ...]:
        return self.origin.shape

    def rows(self, start: int, stop: int) -> Values:
        kept = self.origin.rows(start, stop)
        inside = [(i, token) for i, token in enumerate(self.tokens) if start <= token < stop]
        if not inside:
            return kept
        changed: Values = kept.copy()
        for i, token in inside:
            changed[token - start] = self.values.rows(i, i + 1)[0]
        return changed
