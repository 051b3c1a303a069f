"""Writing the quantised checkpoint, one matrix file after the other.

Every file is written under a temporary name, synced and renamed: a file that is there is finished,
so a killed run goes on where it stopped. Row chunks of a matrix are quantised side by side; peak
memory is a few chunks for each processor. Not about finding codes (`methods.nearest`) or deciding schemes
(`exporter.planning`).
"""

from __future__ import annotations

import json
import math
import os
import shutil
from collections import deque
from collections.abc import Callable, Collection, Iterator, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np

from exporter.checkpoints.files.safetensors_file import ITEM_BYTES
from exporter.checkpoints.interface import CheckpointSource
from exporter.errors import PlanError, QuantizedCheckpointError
from exporter.models.text.spec import ModelSpec, WeightSpec
from exporter.planning.plan import require_divisible
from exporter.progress import Progress
from exporter.quantization.methods.chunks import Piece, quantised_chunk, taken_over_chunk
from exporter.quantization.store.checkpoint import (
    VECTORS_NAME,
    QuantizedCheckpoint,
    matrix_file_name,
    open_quantized,
    stored_tensors,
)
from exporter.quantization.store.gains import stored_vectors
from exporter.quantization.store.journal import begin, finish, make_record, sync_directory, write_json
from exporter.quantization.store.loader_config import (
    CONFIG_NAME,
    INDEX_NAME,
    loader_config,
    loader_index,
)
from exporter.schemes import Scheme, scheme_holding

CHUNK_BYTES = 8 << 20  # of float32 rows a worker quantises at once
MOST_WORKERS = 8  # more would wait for memory and hold more chunks

Producer = Callable[[CheckpointSource, WeightSpec, Scheme, int, int], list[Piece]]


def write_quantized(
    source: CheckpointSource,
    schemes: Mapping[str, Scheme],
    directory: Path,
    progress: Progress,
    taken_over: frozenset[str] = frozenset(),
) -> QuantizedCheckpoint:
    """Quantise `source` into `directory`; matrices of the same plan and source already there are kept.

    schemes: one for every matrix of `source.spec`. taken_over: the matrices whose codes in the source,
    which are of that scheme, become the checkpoint's. Raises PlanError for a scheme that does not fit
    its matrix or is not what the source holds of it, CheckpointError for weights that cannot be read,
    are not finite or do not fit fp16, and QuantizedCheckpointError for a directory that is not ours or
    a disk that cannot hold the result.
    """
    spec = source.spec
    _require_fitting(spec, schemes)
    _require_held(source, schemes, taken_over)
    with _explaining(directory):
        if begin(directory, make_record(source, schemes, taken_over)):
            return open_quantized(directory)
        _require_room(spec, schemes, directory)
        matrices = [weight for weight in spec.weights() if weight.is_matrix]
        total = sum(math.prod(weight.shape) for weight in matrices)
        before = 0
        with ThreadPoolExecutor(worker_count()) as workers:
            for weight in matrices:
                path = directory / matrix_file_name(weight.name)
                if not path.exists():
                    produce = taken_over_chunk if weight.name in taken_over else quantised_chunk
                    chunks = _chunks(source, weight, schemes[weight.name], workers, produce)
                    told = _telling(chunks, progress, before, total)
                    write_safetensors(path, stored_tensors(weight, schemes[weight.name]), told)
                before += math.prod(weight.shape)
                progress("quantise", before, total)
        _write_vectors(source, schemes, directory / VECTORS_NAME)
        write_json(directory / CONFIG_NAME, loader_config(source.architecture, spec, schemes))
        write_json(directory / INDEX_NAME, loader_index(spec, schemes))
        finish(directory)
    return open_quantized(directory)


def write_safetensors(
    path: Path,
    headers: Mapping[str, tuple[str, tuple[int, ...]]],
    pieces: Iterator[Piece],
) -> None:
    """Write one safetensors file, whole or not at all, from pieces in any order.

    headers: name to (dtype, shape). pieces: (name, byte offset in that tensor, data).
    """
    layout: dict[str, dict[str, Any]] = {}
    begin_at = 0
    for name, (dtype, shape) in headers.items():
        end = begin_at + math.prod(shape) * ITEM_BYTES[dtype]
        layout[name] = {"dtype": dtype, "shape": list(shape), "data_offsets": [begin_at, end]}
        begin_at = end
    text = json.dumps(layout, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)  # data starts 8-byte aligned
    start = 8 + len(text)
    partial = path.with_name(path.name + ".partial")
    try:
        with partial.open("wb") as file:
            file.write(len(text).to_bytes(8, "little") + text)
            file.truncate(start + begin_at)
            for name, offset, data in pieces:
                file.seek(start + layout[name]["data_offsets"][0] + offset)
                file.write(np.ascontiguousarray(data).data.cast("B"))
            file.flush()
            os.fsync(file.fileno())
        partial.replace(path)
    except BaseException:
        partial.unlink(missing_ok=True)
        raise
    sync_directory(path.parent)


def worker_count() -> int:
    """Chunks quantised side by side."""
    return min(MOST_WORKERS, os.cpu_count() or 1)


def _require_fitting(spec: ModelSpec, schemes: Mapping[str, Scheme]) -> None:
    for weight in spec.weights():
        if not weight.is_matrix:
            continue
        scheme = schemes.get(weight.name)
        if scheme is None:
            raise PlanError(weight.name, "the plan has no scheme for it", "decide it in the recipe")
        require_divisible(weight.name, weight.shape, scheme)


def _require_held(
    source: CheckpointSource, schemes: Mapping[str, Scheme], taken_over: Collection[str]
) -> None:
    holds = source.held
    for name in sorted(taken_over):
        held = holds.get(name)
        if held is None or scheme_holding(held) != schemes[name]:
            raise PlanError(
                name,
                f"the plan takes its codes over as {schemes[name].name}, which the source does not hold",
                "plan again with this source",
            )


def _require_room(spec: ModelSpec, schemes: Mapping[str, Scheme], directory: Path) -> None:
    needed = sum(
        schemes[weight.name].stored_bytes(weight.shape)
        for weight in spec.weights()
        if weight.is_matrix and not (directory / matrix_file_name(weight.name)).exists()
    )
    free = shutil.disk_usage(directory).free
    if needed > free:
        raise QuantizedCheckpointError(
            directory,
            f"the weights still to come take {needed / 1e9:.1f} GB, the disk has {free / 1e9:.1f} GB",
            "free some, or choose a directory on another disk",
        )


@contextmanager
def _explaining(directory: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise QuantizedCheckpointError(
            error.filename or directory,
            f"cannot be written ({error.strerror})",
            "free space or correct permissions, then run again: finished matrices are kept",
        ) from error


def _chunks(
    source: CheckpointSource,
    weight: WeightSpec,
    scheme: Scheme,
    workers: ThreadPoolExecutor,
    produce: Producer,
) -> Iterator[tuple[int, list[Piece]]]:
    """Row chunks in order, a few ahead of the one asked for: (weights done, what to write)."""
    rows, inputs = weight.shape
    most = worker_count()
    step = max(1, min(CHUNK_BYTES // (inputs * 4), -(-rows // most)))
    ahead: deque[tuple[int, Future[list[Piece]]]] = deque()
    for start in range(0, rows, step):
        stop = min(rows, start + step)
        chunk = workers.submit(produce, source, weight, scheme, start, stop)
        ahead.append((stop * inputs, chunk))
        if len(ahead) > most:
            done, chunk = ahead.popleft()
            yield done, chunk.result()
    for done, chunk in ahead:
        yield done, chunk.result()


def _telling(
    chunks: Iterator[tuple[int, list[Piece]]], progress: Progress, before: int, total: int
) -> Iterator[Piece]:
    for done, pieces in chunks:
        yield from pieces
        progress("quantise", before + done, total)


def _write_vectors(source: CheckpointSource, schemes: Mapping[str, Scheme], path: Path) -> None:
    if path.exists():
        return
    vectors = stored_vectors(source, schemes)
    write_safetensors(
        path,
        {name: ("F32", values.shape) for name, values in vectors.items()},
        ((name, 0, values) for name, values in vectors.items()),
    )
