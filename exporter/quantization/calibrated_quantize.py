"""`write_calibrated`: a checkpoint quantised layer by layer, as calibration text passes through it.

Each layer's second moments are taken while the text goes on through the original weights; its matrices are
written before the next layer is asked for, so memory is one layer's moments. Matrices that are there
already are kept and their moments not taken, so a killed run goes on to the same bytes. Not about how
codes are found (`methods`).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import torch

from exporter.checkpoints.interface import CheckpointSource
from exporter.planning.memory import CalibrationSize
from exporter.planning.recipe import MethodName
from exporter.progress import Progress
from exporter.quantization.methods.calibrated import Calibrated
from exporter.quantization.methods.interface import Method
from exporter.quantization.methods.nearest import Nearest
from exporter.quantization.methods.taken_over import TakenOver, require_held
from exporter.quantization.methods.weighted import Weighted
from exporter.quantization.store.checkpoint import QuantizedCheckpoint
from exporter.quantization.store.writer import StoreWriter
from exporter.quantization.transforms.equalization import EqualizedSource
from exporter.quantization.writing_order import WritingOrder
from exporter.reference.calibration_text import SEQUENCE, CalibrationText
from exporter.reference.moments import MomentsWatch
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
    order = WritingOrder(store, progress)
    reference = StreamedReference(OriginalWeights(original))
    batches = text.batches(BATCH)
    products = any(each.looks_at_products for each in store.methods.values())
    with torch.inference_mode(), reference.walk(*batches) as walk:
        watch = MomentsWatch(products)
        walk.start(watch)
        order.write(watch)
        for layer in walk.layers():
            watch = MomentsWatch(products)
            wanted = order.missing(f"model.layers.{layer.index}.")
            layer.advance(watch if wanted else None)
            order.write(watch)
        if not store.has(reference.head_name):
            watch = MomentsWatch(products)
            for number in range(len(batches)):
                watch.add(reference.head_name, walk.finish(number).last_hidden_state)
            order.write(watch)
    order.write_rest()
