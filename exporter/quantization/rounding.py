"""`Rounding`: matrices as they would come back from a scheme, in the original's own terms.

For seeing what rounding one of them does to a model that is otherwise as it came: nearest codes, at scales
for which errors that large inputs meet count more (`methods.weighted`), of equalised weights where there
are some, scaled back. Not about codes that make up for each other's errors, and not for storing.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from exporter.checkpoints.interface import CheckpointSource, Vector
from exporter.quantization.methods.nearest import quantize_rows
from exporter.quantization.methods.scale_search import FloatRows
from exporter.quantization.methods.weighted import SMALLEST_SHARE
from exporter.quantization.transforms.equalization import EqualizedSource
from exporter.reference.weights import ReferenceWeights
from exporter.schemes import IntegerScheme, Scheme

SAMPLES, SAMPLE_ROWS = 8, 16  # of a matrix whose error is only estimated


@dataclass(frozen=True)
class Rounding:
    """source: equalised or not. sizes: RMS of what enters each linear of the original, by weight."""

    source: CheckpointSource
    sizes: Mapping[str, Vector]

    def rows(self, name: str, scheme: Scheme, start: int, stop: int) -> FloatRows:
        """Rows start to stop as they come back, [rows, in]."""
        stored = self.source.rows(name, start, stop)
        return self._restored(name, self._rounded(name, stored, scheme), np.arange(start, stop))

    def gather(self, name: str, scheme: Scheme, wanted: Sequence[int]) -> FloatRows:
        """Some rows, likewise."""
        stored = np.concatenate([self.source.rows(name, row, row + 1) for row in wanted])
        return self._restored(name, self._rounded(name, stored, scheme), np.asarray(wanted))

    def error(self, name: str, scheme: Scheme) -> float:
        """Mean squared error of an output, were inputs independent; of a sample of rows."""
        count = self.source.tensors[name].shape[0]
        energy = np.square(self.sizes[name]) if name in self.sizes else np.float32(1)
        found = []
        for start in np.linspace(0, max(0, count - SAMPLE_ROWS), SAMPLES).astype(int).tolist():
            stop = min(count, start + SAMPLE_ROWS)
            every = np.arange(start, stop)
            stored = self.source.rows(name, start, stop)
            apart = self._restored(name, self._rounded(name, stored, scheme) - stored, every)
            found.append((np.square(apart) * energy).sum(axis=1).mean())
        return float(np.mean(found))

    def _rounded(self, name: str, stored: FloatRows, scheme: Scheme) -> FloatRows:
        if not isinstance(scheme, IntegerScheme):
            return stored.astype(np.float16 if scheme.bits == 16 else np.float32).astype(np.float32)
        found = quantize_rows(stored, scheme, self._importance(name))
        codes = found.codes.reshape(*found.scales.shape, -1).astype(np.float32)
        if found.zero_points is not None:
            codes = codes - found.zero_points[:, :, None]
        weights: FloatRows = (codes * found.scales.astype(np.float32)[:, :, None]).reshape(stored.shape)
        return weights

    def _importance(self, name: str) -> Vector | None:
        if name not in self.sizes:
            return None
        energy: Vector = np.square(self.sizes[name] * self._columns(name))
        floor: Vector = np.maximum(energy, np.float32(SMALLEST_SHARE) * energy.mean())
        return floor

    def _columns(self, name: str) -> Any:
        source = self.source
        equalised = isinstance(source, EqualizedSource) and name in source.columns
        return source.columns[name] if equalised else np.float32(1)  # type: ignore[attr-defined]  # above

    def _restored(self, name: str, rows: FloatRows, which: NDArray[Any]) -> FloatRows:
        """From the terms of what is stored."""
        rows = rows * self._columns(name)
        if isinstance(self.source, EqualizedSource) and name in self.source.row_factors:
            rows = rows / self.source.row_factors[name][which, None]
        return rows


@dataclass(frozen=True)
class OneRounded:
    """`ReferenceWeights` of which one matrix is rounded."""

    original: ReferenceWeights
    rounding: Rounding
    name: str
    scheme: Scheme

    @property
    def description(self) -> str:
        return f"transformers, {self.name} in {self.scheme.name}"

    @property
    def architecture(self) -> Mapping[str, Any]:
        return self.original.architecture

    @property
    def shapes(self) -> Mapping[str, tuple[int, ...]]:
        return self.original.shapes

    def rows(self, name: str, start: int, stop: int) -> Tensor:
        if name != self.name:
            return self.original.rows(name, start, stop)
        return torch.from_numpy(self.rounding.rows(name, self.scheme, start, stop))

    def gather(self, name: str, wanted: Sequence[int]) -> Tensor:
        if name != self.name:
            return self.original.gather(name, wanted)
        return torch.from_numpy(self.rounding.gather(name, self.scheme, wanted))


class RoundedLinear:
    """Satisfies `LinearWatch`: what leaves one linear is as from its rounded weight."""

    def __init__(self, rounding: Rounding, name: str, scheme: Scheme) -> None:
        self.rounding, self.name, self.scheme = rounding, name, scheme
        self._inputs: Tensor | None = None

    def enters(self, weight: str, inputs: Tensor) -> None:
        if weight == self.name:
            self._inputs = inputs

    def leaves(self, weight: str, outputs: Tensor) -> Tensor | None:
        if weight != self.name or self._inputs is None:
            return None
        rows = self.rounding.rows(weight, self.scheme, 0, outputs.shape[-1])
        return self._inputs @ torch.from_numpy(rows).T
