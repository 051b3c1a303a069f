"""Reading weights out of a written LiteRT file: the flatbuffer is parsed, rows are fetched by `pread`.

Knows nothing of the checkpoint the file was made from, so that what it yields is evidence. The models
of a .litertlm are read in place. Peak memory is the rows asked for.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from exporter.errors import LoweringError
from exporter.lowering.interface import StoredRows
from exporter.lowering.litert.declarations import (
    FLOAT_DTYPES,
    TYPE_BITS,
    Declared,
    WrittenMatrix,
    damaged,
)
from runtimes.errors import ArtifactError
from runtimes.litert.container import TFLITE_KIND, ModelSections, Section, bundle_models, is_container

TEXT = "text"
CHUNK_BYTES = 32 << 20  # of float32 rows at once


@dataclass(frozen=True)
class LiteRtFile:
    """A written model of a file."""

    path: Path
    model: Any  # schema ModelT
    matrices: Mapping[str, WrittenMatrix]

    @staticmethod
    def open(path: Path) -> LiteRtFile:
        """The text model. Raises LoweringError where there is none, or it contradicts itself."""
        return open_models(path)[TEXT]

    def read(self, begin: int, count: int) -> bytes:
        """`count` bytes from byte `begin` of the file."""
        descriptor = os.open(self.path, os.O_RDONLY)
        try:
            data = os.pread(descriptor, count, begin)
        finally:
            os.close(descriptor)
        if len(data) != count:
            raise damaged(self.path, f"ends before byte {begin + count}")
        return data

    def row_ranges(self, matrix: WrittenMatrix) -> Iterator[tuple[int, int]]:
        """Row ranges of about `CHUNK_BYTES` as float32."""
        rows, inputs = matrix.shape
        step = max(1, CHUNK_BYTES // (inputs * 4))
        for start in range(0, rows, step):
            yield start, min(rows, start + step)

    def rows(self, matrix: WrittenMatrix, start: int, stop: int) -> StoredRows:
        """Rows start to stop as the file holds them; scales with the factors behind the product."""
        inputs = matrix.shape[1]
        bits = TYPE_BITS[matrix.type]
        row = inputs * bits // 8
        raw = self.read(matrix.span.begin + start * row, (stop - start) * row)
        if matrix.type in FLOAT_DTYPES:
            values = np.frombuffer(raw, FLOAT_DTYPES[matrix.type]).astype(np.float32)
            return StoredRows(matrix.name, start, None, None, values.reshape(-1, inputs))
        codes = np.frombuffer(raw, np.int8)
        if bits < 8:
            # Two's complement, the first code in the low bits: shifting up and down again extends the sign.
            ups = range(8 - bits, -1, -bits)
            codes = np.stack([codes << up >> (8 - bits) for up in ups], axis=-1).reshape(-1)
        scales = self._scales(matrix, start, stop)
        if matrix.row_factors is not None:
            scales = scales * matrix.row_factors[start:stop, None]
        return StoredRows(matrix.name, start, codes.reshape(-1, inputs), scales, None)

    def values(self, matrix: WrittenMatrix, start: int, stop: int) -> NDArray[np.float32]:
        """Rows start to stop in float32 as the graph multiplies with them: without factors."""
        stored = self.rows(replace(matrix, row_factors=None), start, stop)
        if stored.values is not None:
            return stored.values
        assert stored.codes is not None  # of StoredRows, either values or both of these are set
        assert stored.scales is not None
        values = stored.codes.astype(np.float32)
        values.reshape(*stored.scales.shape, -1)[...] *= stored.scales[:, :, None]
        return values

    def _scales(self, matrix: WrittenMatrix, start: int, stop: int) -> NDArray[np.float32]:
        if matrix.row_scales is not None:
            return matrix.row_scales[start:stop, None]
        if matrix.block_scales is None:
            raise damaged(self.path, f"weight {matrix.name} has integer codes and no scales")
        row = matrix.groups * 2
        raw = self.read(matrix.block_scales.begin + start * row, (stop - start) * row)
        return np.frombuffer(raw, np.float16).astype(np.float32).reshape(-1, matrix.groups)


def open_models(path: Path) -> dict[str, LiteRtFile]:
    """The models of a file by what they are: TEXT, embedders by the input of it they fill, and those that
    images go through by what LiteRT-LM calls them.

    Raises LoweringError where one is not a LiteRT model, or contradicts itself.
    """
    try:
        if is_container(path):
            models = bundle_models(path)
            sections = {TEXT: models.text, **models.embedders, **models.towers}
        else:
            sections = {TEXT: ModelSections(Section(0, path.stat().st_size, TFLITE_KIND, None), None)}
    except OSError as error:
        raise damaged(path, f"cannot be read ({error.strerror})") from error
    except ArtifactError as error:
        raise LoweringError(path, str(error), "export again") from error
    declared = {what: Declared.parse(path, place) for what, place in sections.items()}
    return {what: LiteRtFile(path, each.model, each.matrices()) for what, each in declared.items()}
