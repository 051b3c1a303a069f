"""`ReferenceWeights`: what the reference model is filled with, a few rows at a time.

The original checkpoint is read through its source here; the quantised one, which stands above, brings a
reading of its own (`exporter.quantization.store.unpacked_weights`). Not about running anything.
"""

from __future__ import annotations

import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import torch
from torch import Tensor

from exporter.checkpoints.interface import CheckpointSource


class ReferenceWeights(Protocol):
    """Weights by canonical name, as transformers keeps them, in float32."""

    @property
    def description(self) -> str:
        """What the reference is, in words, for the report."""
        ...

    @property
    def architecture(self) -> Mapping[str, Any]:
        """config.json of the text model."""
        ...

    @property
    def shapes(self) -> Mapping[str, tuple[int, ...]]:
        """Of the text model's weights."""
        ...

    def rows(self, name: str, start: int, stop: int) -> Tensor:
        """Rows start to stop of a matrix [rows, in], or entries of a vector."""
        ...

    def gather(self, name: str, wanted: Sequence[int]) -> Tensor:
        """Some rows of a matrix, [len(wanted), in]."""
        ...


@dataclass(frozen=True)
class OriginalWeights:
    """The checkpoint as it came."""

    source: CheckpointSource

    @property
    def description(self) -> str:
        return "transformers, original checkpoint"

    @property
    def architecture(self) -> Mapping[str, Any]:
        return self.source.architecture

    @property
    def shapes(self) -> dict[str, tuple[int, ...]]:
        tensors = self.source.tensors
        return {each.name: tensors[each.name].shape for each in self.source.components["text"].weights}

    def rows(self, name: str, start: int, stop: int) -> Tensor:
        values = self.source.rows(name, start, stop)
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", "The given NumPy array is not writable")  # nobody writes
            return torch.from_numpy(values)

    def gather(self, name: str, wanted: Sequence[int]) -> Tensor:
        return torch.cat([self.rows(name, row, row + 1) for row in wanted])
