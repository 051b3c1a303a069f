"""`write_quantized`: a checkpoint quantised in the graph's order, as its plan says, into a store.

Codes are the source's own where the plan takes them over, and the nearest ones everywhere else. Not
about how a store is kept (`store.writer`) or codes are found (`methods`).
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from exporter.checkpoints.interface import CheckpointSource
from exporter.progress import Progress
from exporter.quantization.methods.interface import Method
from exporter.quantization.methods.nearest import Nearest
from exporter.quantization.methods.taken_over import TakenOver, require_held
from exporter.quantization.store.checkpoint import QuantizedCheckpoint
from exporter.quantization.store.writer import StoreWriter
from exporter.quantization.writing_order import WritingOrder
from exporter.schemes import IntegerScheme, Scheme


def write_quantized(
    source: CheckpointSource,
    schemes: Mapping[str, Scheme],
    directory: Path,
    progress: Progress,
    taken_over: frozenset[str] = frozenset(),
) -> QuantizedCheckpoint:
    """Quantise `source` into `directory`; matrices of the same plan and source already there are kept.

    schemes: one for every matrix of the source. taken_over: the matrices whose codes in the source, which
    are of that scheme, become the checkpoint's. Raises PlanError for a scheme that does not fit
    its matrix or is not what the source holds of it, CheckpointError for weights that cannot be read,
    are not finite or do not fit fp16, and QuantizedCheckpointError for a directory that is not ours or
    a disk that cannot hold the result.
    """
    require_held(source, schemes, taken_over)
    methods: dict[str, Method] = {
        name: TakenOver() if name in taken_over else Nearest()
        for name, scheme in schemes.items()
        if isinstance(scheme, IntegerScheme)
    }
    with StoreWriter.begin(directory, source, schemes, methods) as store:
        if not store.finished:
            WritingOrder(store, progress).write_rest()
        return store.finish()
