"""`write_calibrated`: a checkpoint quantised layer by layer, as calibration text passes through it.

Each layer's second moments are taken while the text goes on through the original weights; its matrices are
written before the next layer is asked for, so memory is one layer's moments. Matrices that are there
already are kept and their moments not taken, so a killed run goes on to the same bytes. Not about how
codes are found (`methods`).
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import torch

from exporter.checkpoints.interface import CheckpointSource
from exporter.planning.memory import CalibrationSize
from exporter.planning.recipe import MethodName
from exporter.progress import Progress
from exporter.quantization.layer_progress import LayerProgress
from exporter.quantization.methods.calibrated import Calibrated
from exporter.quantization.methods.interface import InputMoments, Method
from exporter.quantization.methods.nearest import Nearest
from exporter.quantization.methods.taken_over import TakenOver, require_held
from exporter.quantization.methods.weighted import Weighted
from exporter.quantization.store.checkpoint import QuantizedCheckpoint
from exporter.quantization.store.writer import StoreWriter, WeightsDone
from exporter.quantization.transforms.equalization import EqualizedSource
from exporter.reference.calibration_text import SEQUENCE, CalibrationText
from exporter.reference.moments import MomentsWatch, SecondMoment
from exporter.reference.spill import MEMORY_BYTES
from exporter.reference.streamed import StreamedReference
from exporter.reference.weights import OriginalWeights
from exporter.schemes import Scheme

BATCH = 8  # sequences that pass a layer together


def calibration_size() -> CalibrationSize:
    """For the plan of memory."""
    return CalibrationSize(BATCH, SEQUENCE, MEMORY_BYTES)


@dataclass(frozen=True)
class Coding:
    """schemes: one for every matrix. methods: how codes are found, for each that has integers of its own.
    taken_over: matrices whose source's codes are kept."""

    schemes: Mapping[str, Scheme]
    methods: Mapping[str, MethodName]
    taken_over: frozenset[str]


def write_calibrated(
    source: CheckpointSource,
    coding: Coding,
    text: CalibrationText,
    directory: Path,
    progress: Progress,
) -> QuantizedCheckpoint:
    """Quantise `source` into `directory`; matrices of the same source, coding and text there are kept.

    Raises as `exporter.quantization.quantize.write_quantized`, and ReferenceModelError for a linear whose
    inputs are not finite.
    """
    require_held(source, coding.schemes, coding.taken_over)
    original = source.base if isinstance(source, EqualizedSource) else source
    with StoreWriter.begin(directory, source, coding.schemes, methods_of(coding, text)) as store:
        if not store.finished:
            write_layer_by_layer(store, original, text, progress)
        return store.finish()


def methods_of(coding: Coding, text: CalibrationText) -> dict[str, Method]:
    """A method for each matrix of an integer scheme."""
    found: dict[str, Method] = {name: TakenOver() for name in coding.taken_over}
    by_name: dict[MethodName, Method] = {
        "nearest": Nearest(),
        "weighted": Weighted(text.sha256),
        "error-feedback": Calibrated(text.sha256),
    }
    return found | {name: by_name[method] for name, method in coding.methods.items()}


def write_layer_by_layer(
    store: StoreWriter, original: CheckpointSource, text: CalibrationText, progress: Progress
) -> None:
    """Write every matrix that is not there, those that calibration text reaches with their moments.

    original: what the text passes through, of which the store's source may be a rescaling.
    """
    order = _Order(store, progress)
    reference = StreamedReference(OriginalWeights(original))
    batches = text.batches(BATCH)
    with torch.inference_mode(), reference.walk(*batches) as walk:
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
            for number in range(len(batches)):
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
        self._layers = LayerProgress(self._sizes, progress)
        for name in filter(store.has, self._sizes):
            self._layers.written(name)

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
