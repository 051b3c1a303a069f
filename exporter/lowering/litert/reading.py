"""Reading weights out of a written LiteRT file: the flatbuffer is parsed, rows are fetched by `pread`.

Knows nothing of the checkpoint the file was made from, so that what it yields is evidence. The model
of a .litertlm is read in place. Peak memory is the rows asked for.
"""

from __future__ import annotations

import math
import mmap
import os
import struct
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from ai_edge_litert import schema_py_generated as schema
from numpy.typing import NDArray

from exporter.errors import LoweringError
from exporter.lowering.interface import StoredRows
from exporter.lowering.litert.graph import scales_of
from exporter.lowering.litert.writing import IDENTIFIER
from runtimes.errors import ArtifactError
from runtimes.litert.container import is_container, prefill_decode_section

CHUNK_BYTES = 32 << 20  # of float32 rows at once
_Type = schema.TensorType
TYPE_BITS = {_Type.INT4: 4, _Type.INT8: 8, _Type.FLOAT16: 16, _Type.FLOAT32: 32}
FLOAT_DTYPES = {_Type.FLOAT16: np.float16, _Type.FLOAT32: np.float32}


@dataclass(frozen=True)
class Span:
    """Bytes of the model: begin counts from its flatbuffer's first byte."""

    begin: int
    nbytes: int


@dataclass(frozen=True)
class WrittenMatrix:
    """A weight as the file declares it. type: schema TensorType.

    row_scales: [rows] where the flatbuffer holds one scale per row. block_scales: where the FLOAT16
    scales [rows, groups] of a block-quantised weight lie.
    """

    name: str
    shape: tuple[int, int]
    type: int
    span: Span
    row_scales: NDArray[np.float32] | None
    block_scales: Span | None
    groups: int


@dataclass(frozen=True)
class LiteRtFile:
    """A written model. start: where its flatbuffer begins in `path` (0 but for a bundle)."""

    path: Path
    start: int
    model: Any  # schema ModelT
    matrices: Mapping[str, WrittenMatrix]

    @staticmethod
    def open(path: Path) -> LiteRtFile:
        """Parse the flatbuffer. Raises LoweringError where it is not one, or contradicts itself."""
        start, length = _extent(path)
        with path.open("rb") as file:
            # Not closed here: the parsed model's vectors are views of it.
            data = mmap.mmap(file.fileno(), length, offset=start, access=mmap.ACCESS_READ)
        if data[4:8] != IDENTIFIER:
            raise _wrong(path, "is not a LiteRT flatbuffer")
        try:
            model = schema.ModelT.InitFromObj(schema.Model.GetRootAs(data, 0))
        except (struct.error, IndexError, TypeError, ValueError) as error:
            raise _wrong(path, "has a flatbuffer that points outside itself") from error
        matrices: dict[str, WrittenMatrix] = {}
        for subgraph in model.subgraphs:
            for matrix in _matrices(path, model, subgraph):
                if not _same(matrices.setdefault(matrix.name, matrix), matrix):
                    raise _wrong(path, f"weight {matrix.name} differs between signatures")
        for matrix in matrices.values():
            for span in (matrix.span, matrix.block_scales):
                if span is not None and span.begin + span.nbytes > length:
                    raise _wrong(path, f"weight {matrix.name} lies past the end of the file")
        return LiteRtFile(path, start, model, matrices)

    def read(self, begin: int, count: int) -> bytes:
        """`count` bytes from byte `begin` of the model."""
        descriptor = os.open(self.path, os.O_RDONLY)
        try:
            data = os.pread(descriptor, count, self.start + begin)
        finally:
            os.close(descriptor)
        if len(data) != count:
            raise _wrong(self.path, f"ends before byte {begin + count} of its model")
        return data

    def row_ranges(self, matrix: WrittenMatrix) -> Iterator[tuple[int, int]]:
        """Row ranges of about `CHUNK_BYTES` as float32."""
        rows, inputs = matrix.shape
        step = max(1, CHUNK_BYTES // (inputs * 4))
        for start in range(0, rows, step):
            yield start, min(rows, start + step)

    def rows(self, matrix: WrittenMatrix, start: int, stop: int) -> StoredRows:
        """Rows start to stop as the file holds them."""
        inputs = matrix.shape[1]
        row = inputs * TYPE_BITS[matrix.type] // 8
        raw = self.read(matrix.span.begin + start * row, (stop - start) * row)
        if matrix.type in FLOAT_DTYPES:
            values = np.frombuffer(raw, FLOAT_DTYPES[matrix.type]).astype(np.float32)
            return StoredRows(matrix.name, start, None, None, values.reshape(-1, inputs))
        codes = np.frombuffer(raw, np.int8)
        if matrix.type == _Type.INT4:
            # Two's complement, low nibble first: shifting up and down again extends the sign.
            both = np.stack([codes << 4 >> 4, codes >> 4], axis=-1)
            codes = both.reshape(-1)
        return StoredRows(
            matrix.name, start, codes.reshape(-1, inputs), self._scales(matrix, start, stop), None
        )

    def values(self, matrix: WrittenMatrix, start: int, stop: int) -> NDArray[np.float32]:
        """Rows start to stop in float32: code times scale."""
        stored = self.rows(matrix, start, stop)
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
            raise _wrong(self.path, f"weight {matrix.name} has integer codes and no scales")
        row = matrix.groups * 2
        raw = self.read(matrix.block_scales.begin + start * row, (stop - start) * row)
        return np.frombuffer(raw, np.float16).astype(np.float32).reshape(-1, matrix.groups)


def text(name: bytes | str) -> str:
    """A flatbuffer string as parsed from a file (bytes) or set by us (str)."""
    return name.decode("utf-8") if isinstance(name, bytes) else name


def _extent(path: Path) -> tuple[int, int]:
    try:
        if not is_container(path):
            return 0, path.stat().st_size
        section = prefill_decode_section(path)
    except OSError as error:
        raise _wrong(path, f"cannot be read ({error.strerror})") from error
    except ArtifactError as error:
        raise LoweringError(path, str(error), "export again") from error
    return section.begin, section.end - section.begin


def _matrices(path: Path, model: Any, subgraph: Any) -> Iterator[WrittenMatrix]:
    """Tensors whose bytes lie behind the flatbuffer, but for those that are another's scales."""
    scales = {index for tensor in subgraph.tensors if (index := scales_of(tensor)) is not None}
    for index, tensor in enumerate(subgraph.tensors):
        buffer = model.buffers[tensor.buffer]
        if buffer.offset == 0 or index in scales:
            continue
        name, shape = text(tensor.name), tuple(int(side) for side in tensor.shape)
        if tensor.type not in TYPE_BITS or len(shape) != 2:
            raise _wrong(path, f"weight {name} has type {tensor.type} and shape {list(shape)}")
        if buffer.size != math.prod(shape) * TYPE_BITS[tensor.type] // 8:
            raise _wrong(path, f"weight {name} has {buffer.size} bytes, its shape {list(shape)} does not")
        yield WrittenMatrix(
            name,
            (shape[0], shape[1]),
            tensor.type,
            Span(buffer.offset, buffer.size),
            *_scale_places(path, model, subgraph, tensor, name),
        )


def _scale_places(
    path: Path, model: Any, subgraph: Any, tensor: Any, name: str
) -> tuple[NDArray[np.float32] | None, Span | None, int]:
    if (index := scales_of(tensor)) is not None:
        holder = subgraph.tensors[index]
        rows, groups = (int(side) for side in holder.shape)
        if (holder.type, rows) != (_Type.FLOAT16, tensor.shape[0]):
            raise _wrong(path, f"weight {name} has scales of type {holder.type} and {rows} rows")
        buffer = model.buffers[holder.buffer]
        if (
            buffer.size != rows * groups * 2
            or groups * tensor.quantization.details.blockSize != tensor.shape[1]
        ):
            raise _wrong(path, f"the scales of weight {name} do not cover it")
        return None, Span(buffer.offset, buffer.size), groups
    if tensor.type in FLOAT_DTYPES:
        return None, None, 0
    scale = None if tensor.quantization is None else tensor.quantization.scale
    if scale is None or len(scale) != tensor.shape[0] or tensor.quantization.quantizedDimension != 0:
        raise _wrong(path, f"weight {name} has integer codes and not one scale per row")
    if np.any(tensor.quantization.zeroPoint):
        raise _wrong(path, f"weight {name} has zero points")
    return np.asarray(scale, np.float32), None, 1


def _same(a: WrittenMatrix, b: WrittenMatrix) -> bool:
    if a.row_scales is None or b.row_scales is None:
        scales = a.row_scales is b.row_scales
    else:
        scales = np.array_equal(a.row_scales, b.row_scales)
    return scales and (a.shape, a.type, a.span, a.block_scales) == (b.shape, b.type, b.span, b.block_scales)


def _wrong(path: Path, what: str) -> LoweringError:
    return LoweringError(path, what, "the file is damaged or of another origin; export again")
