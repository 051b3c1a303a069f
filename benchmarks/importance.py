"""What llama.cpp calls an importance matrix: the mean square of each input of every linear.

Over the calibration text that ships, as our recipes are given it, on which no figure is measured. Where
columns are rescaled, so is what enters them: one measurement serves every function-preserving copy. Not
about the types it changes (`ggml_mixes`).
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import torch
from torch import Tensor

from benchmarks.ggml_library import Floats
from exporter.checkpoints.interface import CheckpointSource
from exporter.quantization.transforms.equalization import EqualizedSource
from exporter.reference.calibration_text import calibration_text
from exporter.reference.streamed import StreamedReference
from exporter.reference.texts import Texts
from exporter.reference.weights import OriginalWeights

TOKENS = 20_480
TOGETHER = 4  # sequences

Importance = Mapping[str, Floats]
"""Linear's weight name to the importance of each input, [in]."""


class _Squares:
    """Sums of squares of what enters each linear. Satisfies `LinearWatch`."""

    def __init__(self) -> None:
        self.sums: dict[str, Tensor] = {}
        self.counts: dict[str, int] = {}

    def enters(self, weight: str, inputs: Tensor) -> None:
        flat = inputs.reshape(-1, inputs.shape[-1])
        self.sums[weight] = self.sums.get(weight, torch.zeros(1)) + flat.square().sum(dim=0)
        self.counts[weight] = self.counts.get(weight, 0) + len(flat)

    def leaves(self, weight: str, outputs: Tensor) -> None:
        """Nothing to measure."""


def importance(source: CheckpointSource, texts: Texts) -> dict[str, Floats]:
    """Of a checkpoint as it came."""
    seen = _Squares()
    model = StreamedReference(OriginalWeights(source))
    batches = calibration_text(source, texts).first(TOKENS).batches(TOGETHER)
    with torch.inference_mode(), model.walk(*batches) as walk:
        walk.start(seen)
        for layer in walk.layers():
            layer.advance(seen)
    return {name: (total / seen.counts[name]).numpy() for name, total in seen.sums.items()}


def importance_in(source: EqualizedSource, before: Importance) -> dict[str, Floats]:
    """Of a rescaled copy, whose columns are divided by what their inputs are multiplied with."""
    one = np.ones(1, np.float32)
    return {
        name: (found * np.square(source.columns.get(name, one))).astype(np.float32)
        for name, found in before.items()
    }
