"""Error of a linear's outputs by codes found on one text, over another: of some rows of it, in seconds.

    E |(w - ŵ) x|² / E |w x|²

A figure to choose methods by before `benchmarks.quality` is asked. Codes are found by error feedback as
`Calibrated` does it. Not about what is compared (`equalization`, `calibration_texts`).
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, replace

import numpy as np
import torch
from numpy.typing import NDArray

from exporter.checkpoints.interface import CheckpointSource
from exporter.quantization.methods.calibrated import Calibrated, calibrated_rows
from exporter.quantization.methods.interface import InputMoments
from exporter.reference.moments import MomentsWatch
from exporter.reference.streamed import StreamedReference
from exporter.reference.weights import OriginalWeights
from exporter.schemes import IntegerScheme

BATCH = 8  # sequences
ONE = np.ones(1, np.float32)

Moments = Mapping[str, InputMoments]
"""Of a linear, by its weight's name."""


def moments(source: CheckpointSource, sequences: NDArray[np.int32], layers: Collection[int]) -> Moments:
    """Of the linears of some layers, over sequences [count, length]."""
    reference = StreamedReference(OriginalWeights(source))
    batches = [sequences[at : at + BATCH] for at in range(0, len(sequences), BATCH)]
    found: dict[str, InputMoments] = {}
    with torch.inference_mode(), reference.walk(*batches) as walk:
        walk.start()
        for layer in walk.layers():
            watch = MomentsWatch()
            layer.advance(watch if layer.index in layers else None)
            for each in watch.groups():
                found |= dict.fromkeys(
                    sorted(each.names), InputMoments(each.second, each.tokens, each.opening)
                )
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
    damping: float | None = None

    def error(self, scheme: IntegerScheme, seen: Moments, unseen: Moments) -> float:
        """Of the outputs over `unseen`, as a share of them, by codes found on `seen`."""
        every = self.source.rows(self.name, 0, self.source.tensors[self.name].shape[0])
        weights = np.ascontiguousarray(every[:: max(1, len(every) // self.count)] / self.columns)
        factors = np.broadcast_to(self.columns, every.shape[1])
        rescaled = np.outer(factors, factors)
        method, known = Calibrated(""), seen[self.name]
        if self.damping is not None:
            method = replace(method, damping=self.damping, few_bits_damping=self.damping)
        opening = None if known.opening is None else known.opening * factors
        factor = method.factor(InputMoments(known.second * rescaled, known.tokens, opening), scheme)
        found = calibrated_rows(weights, scheme, factor, method.rounds_of(scheme, every.shape[1]))
        grouped = found.codes.astype(np.float32).reshape(*found.scales.shape, -1)
        if found.zero_points is not None:
            grouped -= found.zero_points[..., None]
        grouped *= found.scales[..., None].astype(np.float32)
        lost, second = grouped.reshape(weights.shape) - weights, unseen[self.name].second * rescaled
        return float(np.sum(lost @ second * lost) / np.sum(weights @ second * weights))
