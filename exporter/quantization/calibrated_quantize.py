"""`write_calibrated`: a checkpoint quantised layer by layer, as calibration text passes through it.

Each layer's second moments are taken while the text goes on through the original weights; its matrices are
written before the next layer is asked for, so memory is one layer's moments. Matrices that are there
already are kept and their moments not taken, so a killed run goes on to the same bytes. Not about how
codes are found (`methods`).
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray

from exporter.checkpoints.interface import CheckpointSource
from exporter.progress import Progress
from exporter.quantization.methods.interface import InputMoments
from exporter.quantization.store.writer import StoreWriter, WeightsDone
from exporter.quantization.transforms.equalization import EqualizedSource
from exporter.reference.moments import MomentsWatch, SecondMoment
from exporter.reference.streamed import StreamedReference
from exporter.reference.weights import OriginalWeights

Sequences = Sequence[NDArray[np.int32]]
"""Token ids, [batch, tokens] each."""


def write_layer_by_layer(
    store: StoreWriter, original: CheckpointSource, sequences: Sequences, progress: Progress
) -> None:
    """Write every matrix that is not there, those that calibration text reaches with their moments.

    original: what the text passes through, of which the store's source may be a rescaling.
    """
    order = _Order(store, progress)
    reference = StreamedReference(OriginalWeights(original))
    with torch.inference_mode(), reference.walk(*sequences) as walk:
        watch = MomentsWatch()
        walk.start(watch)
        order.write(watch)
        for layer in walk.layers():
            watch = MomentsWatch()
            wanted = order.missing(f"model.layers.{layer.index}.")
            layer.advance(watch if wanted else None)
            order.write(watch)
        if not store.has(reference.head_name):
            watch = MomentsWatch()
            for number in range(len(sequences)):
                watch.add(reference.head_name, walk.finish(number).last_hidden_state)
            order.write(watch)
    order.write_rest()


class _Order:
    """What is written, and told of it."""

    def __init__(self, store: StoreWriter, progress: Progress) -> None:
        self._store, self._progress = store, progress
        self._sizes = {
            weight.name: math.prod(weight.shape)
            for component in store.source.components.values()
            for weight in component.weights
            if weight.is_matrix
        }
        self._done = sum(size for name, size in self._sizes.items() if store.has(name))

    def missing(self, prefix: str) -> bool:
        return any(name.startswith(prefix) and not self._store.has(name) for name in self._sizes)

    def write(self, watch: MomentsWatch) -> None:
        """Every matrix whose inputs were seen."""
        for names, second, tokens in watch.groups():
            wanted = sorted(names & self._sizes.keys())
            if not wanted:
                continue
            moments = InputMoments(self._rescaled(second, wanted), tokens)
            for name in wanted:
                self._write(name, moments)

    def _rescaled(self, second: SecondMoment, names: Sequence[str]) -> SecondMoment:
        """Of what enters these matrices once their columns are divided."""
        source = self._store.source
        if not isinstance(source, EqualizedSource) or names[0] not in source.columns:
            return second
        columns = source.columns[names[0]]
        rescaled: SecondMoment = second * columns * columns[:, None]
        return rescaled

    def write_rest(self) -> None:
        for name in self._sizes:
            self._write(name, None)

    def _write(self, name: str, moments: InputMoments | None) -> None:
        if self._store.has(name):
            return
        self._store.write(name, self._telling(), moments)
        self._done += self._sizes[name]

    def _telling(self) -> WeightsDone:
        total, before = sum(self._sizes.values()), self._done
        return lambda done: self._progress("quantise", before + done, total)
