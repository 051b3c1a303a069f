"""`StoreWriter`: the quantised checkpoint under way, begun, written a matrix at a time, finished.

A matrix's file is there whole or not at all, so a killed run goes on where it stopped, and the order of
matrices is the caller's. Row chunks of a matrix are worked on side by side; peak memory is a few chunks
for each processor. Not about finding codes (`exporter.quantization.methods`), the order
(`exporter.quantization.quantize`) or deciding schemes (`exporter.planning`).
"""

from __future__ import annotations

import os
import shutil
from collections import deque
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Self

from exporter.byte_size import megabytes
from exporter.checkpoints.interface import CheckpointSource, Vector
from exporter.errors import PlanError, QuantizedCheckpointError
from exporter.models.components import towers_of
from exporter.models.text.spec import WeightSpec
from exporter.planning.plan import require_divisible
from exporter.quantization.methods.interface import InputMoments, MatrixRows, Method
from exporter.quantization.store import journal
from exporter.quantization.store.checkpoint import Matrix, QuantizedCheckpoint, open_matrix, open_quantized
from exporter.quantization.store.gains import stored_vectors, tower_vectors
from exporter.quantization.store.layout import (
    VECTORS_NAME,
    matrix_file_name,
    stored_tensors,
    tower_vectors_name,
)
from exporter.quantization.store.loader_config import (
    CONFIG_NAME,
    INDEX_NAME,
    loader_config,
    loader_index,
)
from exporter.quantization.store.pieces import float_pieces, integer_pieces, whole_row_step
from exporter.quantization.store.safetensors_writer import Piece, write_safetensors
from exporter.quantization.store.whole_files import write_json
from exporter.schemes import FloatScheme, IntegerScheme, Scheme

CHUNK_BYTES = 8 << 20  # of float32 rows a worker quantises at once
MOST_WORKERS = 8  # more would wait for memory and hold more chunks

WeightsDone = Callable[[int], None]
"""Called with the weights of a matrix that are written so far."""


@dataclass(frozen=True)
class StoreWriter:
    """A quantised checkpoint that may miss matrices. finished: it is complete, and was before."""

    directory: Path
    source: CheckpointSource
    schemes: Mapping[str, Scheme]
    methods: Mapping[str, Method]
    finished: bool
    _workers: ThreadPoolExecutor

    @classmethod
    @contextmanager
    def begin(
        cls,
        directory: Path,
        source: CheckpointSource,
        schemes: Mapping[str, Scheme],
        methods: Mapping[str, Method],
    ) -> Iterator[Self]:
        """Go on with what is there of the same source, schemes and methods; anything else is discarded.

        schemes: one for every matrix of the source. methods: one for every matrix of an integer scheme.
        Raises PlanError for a scheme that does not fit its matrix, QuantizedCheckpointError for
        a directory that is not ours or a disk that cannot hold the result.
        """
        _require_fitting(source, schemes, methods)
        with _explaining(directory):
            finished = journal.begin(directory, journal.make_record(source, schemes, methods))
            if not finished:
                _require_room(source, schemes, directory)
        with ThreadPoolExecutor(worker_count()) as workers:
            yield cls(directory, source, schemes, methods, finished, workers)

    def has(self, name: str) -> bool:
        """Whether a matrix is written."""
        return self.finished or self._path(name).exists()

    def write(self, name: str, told: WeightsDone, moments: InputMoments | None = None) -> None:
        """Write a matrix that is not there yet, whole or not at all, by its scheme and method.

        moments: of its inputs, for a method that wants them. Raises CheckpointError for weights that
        cannot be read, are not finite or do not fit the scheme, QuantizedCheckpointError for a file
        that cannot be written.
        """
        if self.has(name):
            raise QuantizedCheckpointError(
                self._path(name), "is written already", "ask `has` before `write`"
            )
        weight, scheme = self._matrices()[name], self.schemes[name]

        def chunk(start: int, stop: int) -> list[Piece]:
            rows = MatrixRows(self.source, name, start, stop)
            if isinstance(scheme, FloatScheme):
                return float_pieces(weight, scheme, start, rows.values())
            return integer_pieces(weight, scheme, start, self.methods[name].find(rows, scheme, moments))

        step = _chunk_rows(weight, scheme, self.methods.get(name))
        chunks = _ahead(self._workers, chunk, weight.shape[0], step)
        with _explaining(self.directory):
            pieces = _telling(chunks, told, weight.shape[1])
            write_safetensors(self._path(name), stored_tensors(weight, scheme), pieces)

    def matrix(self, name: str) -> Matrix:
        """A written matrix, to read. Raises CheckpointError when it is not there or damaged."""
        return open_matrix(self.directory, self._matrices()[name], self.schemes[name])

    def finish(self) -> QuantizedCheckpoint:
        """Write what is no matrix, declare the checkpoint finished and open it.

        Raises QuantizedCheckpointError while matrices are missing.
        """
        if not self.finished:
            missing = [name for name in self._matrices() if not self.has(name)]
            if missing:
                raise QuantizedCheckpointError(
                    self.directory,
                    f"cannot be finished: {len(missing)} matrices are missing, {missing[0]} first",
                    "write them",
                )
            spec = self.source.components["text"].spec
            with _explaining(self.directory):
                self._write_vectors()
                config = loader_config(self.source.architecture, spec, self.schemes)
                write_json(self.directory / CONFIG_NAME, config)
                write_json(self.directory / INDEX_NAME, loader_index(spec, self.schemes))
                journal.finish(self.directory)
        return open_quantized(self.directory)

    def _path(self, name: str) -> Path:
        return self.directory / matrix_file_name(name)

    def _matrices(self) -> dict[str, WeightSpec]:
        return {weight.name: weight for weight in _matrices_of(self.source)}

    def _write_vectors(self) -> None:
        self._write_small(VECTORS_NAME, stored_vectors(self.source, self._of_text()))
        for tower in towers_of(self.source.components):
            self._write_small(tower_vectors_name(tower.name), tower_vectors(self.source, tower))

    def _of_text(self) -> dict[str, Scheme]:
        weights = self.source.components["text"].weights
        return {each.name: self.schemes[each.name] for each in weights if each.is_matrix}

    def _write_small(self, name: str, vectors: Mapping[str, Vector]) -> None:
        path = self.directory / name
        if path.exists():
            return
        write_safetensors(
            path,
            {name: ("F32", values.shape) for name, values in vectors.items()},
            ((name, 0, values) for name, values in vectors.items()),
        )


def worker_count() -> int:
    """Chunks quantised side by side."""
    return min(MOST_WORKERS, os.cpu_count() or 1)


def _matrices_of(source: CheckpointSource) -> Iterator[WeightSpec]:
    """Of every component, in graph order."""
    for component in source.components.values():
        yield from (weight for weight in component.weights if weight.is_matrix)


def _require_fitting(
    source: CheckpointSource, schemes: Mapping[str, Scheme], methods: Mapping[str, Method]
) -> None:
    for weight in _matrices_of(source):
        scheme = schemes.get(weight.name)
        if scheme is None:
            raise PlanError(weight.name, "the plan has no scheme for it", "decide it in the recipe")
        require_divisible(weight.name, weight.shape, scheme)
        if isinstance(scheme, IntegerScheme) and weight.name not in methods:
            raise PlanError(
                weight.name, f"nothing finds its {scheme.name} codes", "give the store a method for it"
            )


def _require_room(source: CheckpointSource, schemes: Mapping[str, Scheme], directory: Path) -> None:
    needed = sum(
        schemes[weight.name].stored_bytes(weight.shape)
        for weight in _matrices_of(source)
        if not (directory / matrix_file_name(weight.name)).exists()
    )
    free = shutil.disk_usage(directory).free
    if needed > free:
        raise QuantizedCheckpointError(
            directory,
            f"the weights still to come take {megabytes(needed)}, the disk has {megabytes(free)}",
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
            "free space or correct permissions, then run again",
        ) from error


def _chunk_rows(weight: WeightSpec, scheme: Scheme, method: Method | None) -> int:
    """Rows of a chunk: CHUNK_BYTES of them at most, and no fewer chunks than workers, in whole tiles."""
    rows, inputs = weight.shape
    step = max(1, min(CHUNK_BYTES // (inputs * 4), -(-rows // worker_count())))
    tile = 1 if method is None else method.tile(inputs)
    return whole_row_step(scheme, -(-step // tile) * tile)


def _ahead(
    workers: ThreadPoolExecutor, chunk: Callable[[int, int], list[Piece]], rows: int, step: int
) -> Iterator[tuple[int, list[Piece]]]:
    """Row chunks in order, a few ahead of the one asked for: (rows done, what to write)."""
    ahead: deque[tuple[int, Future[list[Piece]]]] = deque()
    for start in range(0, rows, step):
        stop = min(rows, start + step)
        ahead.append((stop, workers.submit(chunk, start, stop)))
        if len(ahead) > worker_count():
            done, oldest = ahead.popleft()
            yield done, oldest.result()
    for done, oldest in ahead:
        yield done, oldest.result()


def _telling(chunks: Iterator[tuple[int, list[Piece]]], told: WeightsDone, inputs: int) -> Iterator[Piece]:
    for done, pieces in chunks:
        yield from pieces
        told(done * inputs)
