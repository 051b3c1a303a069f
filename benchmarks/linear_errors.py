"""Error of a linear's outputs by codes found on one text, over another: of some rows of it, in seconds.

    E |(w - ŵ) x|² / E |w x|²

A figure to choose methods by before `benchmarks.quality` is asked. Codes are found by error feedback as
`Calibrated` does it. Not about what is compared (`equalization`, `calibration_texts`).
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

from exporter.checkpoints.interface import CheckpointSource
from exporter.quantization.methods.calibrated import calibrated_rows
from exporter.quantization.methods.moments_factor import factor_moments
from exporter.reference.moments import MomentsWatch
from exporter.reference.streamed import StreamedReference
from exporter.reference.weights import OriginalWeights
from exporter.schemes import IntegerScheme

BATCH = 8  # sequences
DAMPING = 0.01  # as `Calibrated` has it
ONE = np.ones(1, np.float32)

Moments = Mapping[str, NDArray[np.float32]]
"""Linear's weight name to the mean of x[i] * x[j], [in, in]."""


def moments(source: CheckpointSource, sequences: NDArray[np.int32], layers: Collection[int]) -> Moments:
    """Of the linears of some layers, over sequences [count, length]."""
    reference = StreamedReference(OriginalWeights(source))
    batches = [sequences[at : at + BATCH] for at in range(0, len(sequences), BATCH)]
    found: dict[str, NDArray[np.float32]] = {}
    with torch.inference_mode(), reference.walk(*batches) as walk:
        walk.start()
        for layer in walk.layers():
            watch = MomentsWatch()
            layer.advance(watch if layer.index in layers else None)
            found |= {name: second for names, second, _ in watch.groups() for name in sorted(names)}
            if layer.index == max(layers):
                break
    return found


def kinds(seen: Moments) -> dict[str, list[str]]:
    """Names of the linears by their kind, such as o_proj."""
    found: dict[str, list[str]] = {}
    for name in seen:
        found.setdefault(name.rsplit(".", 2)[-2], []).append(name)
    return found


@dataclass(frozen=True)
class SomeRows:
    """Evenly spaced rows of a linear whose columns are divided by `columns`, [in] or [1]."""

    source: CheckpointSource
    name: str
    count: int
    columns: NDArray[np.float32]
    damping: float = DAMPING

    def error(self, scheme: IntegerScheme, seen: Moments, unseen: Moments) -> float:
        """Of the outputs over `unseen`, as a share of them, by codes found on `seen`."""
        every = self.source.rows(self.name, 0, self.source.tensors[self.name].shape[0])
        weights = np.ascontiguousarray(every[:: max(1, len(every) // self.count)] / self.columns)
        factors = np.broadcast_to(self.columns, every.shape[1])
        rescaled = np.outer(factors, factors)
        group = scheme.group or every.shape[1]
        factor = factor_moments(seen[self.name] * rescaled, group, self.damping)
        found = calibrated_rows(weights, scheme, factor, rounds=0 if scheme.bits == 8 else 1)
        grouped = found.codes.astype(np.float32).reshape(*found.scales.shape, -1)
        if found.zero_points is not None:
            grouped -= found.zero_points[..., None]
        grouped *= found.scales[..., None].astype(np.float32)
        lost, second = grouped.reshape(weights.shape) - weights, unseen[self.name] * rescaled
        return float(np.sum(lost @ second * lost) / np.sum(weights @ second * weights))
