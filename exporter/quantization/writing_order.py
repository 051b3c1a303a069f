"""`WritingOrder`: which matrices of a store are still to be written, writing them, and telling of it.

Not about what their inputs were like (`calibrated_quantize`) or how codes are found (`methods`).
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import torch

from exporter.progress import Progress
from exporter.quantization.layer_progress import LayerProgress
from exporter.quantization.methods.interface import InputMoments
from exporter.quantization.store.writer import StoreWriter, WeightsDone
from exporter.quantization.transforms.equalization import EqualizedSource
from exporter.reference.moments import MomentsWatch, SecondMoment, SeenInputs


class WritingOrder:
    """Matrices of a store that may be there already, in whatever order their inputs are seen."""

    def __init__(self, store: StoreWriter, progress: Progress) -> None:
        self._store, self._progress = store, progress
        self._sizes = {
            weight.name: math.prod(weight.shape)
            for component in store.source.components.values()
            for weight in component.weights
            if weight.is_matrix
        }
        self._done = sum(size for name, size in self._sizes.items() if store.has(name))
        self._layers = LayerProgress(self._sizes, progress)
        for name in filter(store.has, self._sizes):
            self._layers.written(name)

    def missing(self, prefix: str) -> bool:
        return any(name.startswith(prefix) and not self._store.has(name) for name in self._sizes)

    def write(self, watch: MomentsWatch) -> None:
        """Every matrix whose inputs were seen."""
        for seen in watch.groups():
            wanted = sorted(seen.names & self._sizes.keys())
            if not wanted:
                continue
            moments = self._rescaled(seen, wanted)
            for name in wanted:
                self._write(name, moments)

    def _rescaled(self, seen: SeenInputs, names: Sequence[str]) -> InputMoments:
        """Of what enters these matrices once their columns are divided."""
        source = self._store.source
        if not isinstance(source, EqualizedSource) or names[0] not in source.columns:
            return InputMoments(seen.second, seen.tokens, seen.opening)
        columns = source.columns[names[0]]
        second: SecondMoment = seen.second * columns
        second *= columns if second.ndim == 1 else columns[:, None]
        return InputMoments(second, seen.tokens, None if seen.opening is None else seen.opening * columns)

    def write_rest(self) -> None:
        for name in self._sizes:
            self._write(name, None)

    def _write(self, name: str, moments: InputMoments | None) -> None:
        if self._store.has(name):
            return
        with _products_on_one_thread():
            self._store.write(name, self._telling(), moments)
        self._done += self._sizes[name]
        self._layers.written(name)

    def _telling(self) -> WeightsDone:
        total, before = sum(self._sizes.values()), self._done
        return lambda done: self._progress("quantise", before + done, total)


@contextmanager
def _products_on_one_thread() -> Iterator[None]:
    """The store works on a chunk of rows for each processor: a product that takes them all would wait."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)
