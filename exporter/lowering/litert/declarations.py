"""What a written LiteRT file declares: the flatbuffers of its models, and the weights these name.

Reads no weight. Not about the checkpoint the file was made from.
"""

from __future__ import annotations

import math
import mmap
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from ai_edge_litert import schema_py_generated as schema
from numpy.typing import NDArray

from exporter.errors import LoweringError
from exporter.lowering.litert.graph import scales_of
from exporter.lowering.litert.row_factors import FACTORS_SUFFIX
from runtimes.errors import ArtifactError
from runtimes.litert.container import ModelSections
from runtimes.litert.external_weights import place_outside
from runtimes.litert.flatbuffer import DAMAGE, FlatbufferError, parse_model

_Type = schema.TensorType
TYPE_BITS = {_Type.INT2: 2, _Type.INT4: 4, _Type.INT8: 8, _Type.FLOAT16: 16, _Type.FLOAT32: 32}
FLOAT_DTYPES = {_Type.FLOAT16: np.float16, _Type.FLOAT32: np.float32}


@dataclass(frozen=True)
class Span:
    """Bytes of the file, from its first on."""

    begin: int
    nbytes: int


@dataclass(frozen=True)
class WrittenMatrix:
    """A weight as the file declares it. type: schema TensorType.

    row_scales: [rows] where the flatbuffer holds one scale per row. block_scales: where the FLOAT16
    scales [rows, groups] of a block-quantised weight lie. row_factors: [rows], what comes of it is
    multiplied with; None for nothing.
    """

    name: str
    shape: tuple[int, int]
    type: int
    span: Span
    row_scales: NDArray[np.float32] | None
    block_scales: Span | None
    groups: int
    row_factors: NDArray[np.float32] | None


@dataclass(frozen=True)
class Declared:
    """A parsed model and where in the file it lies."""

    path: Path
    sections: ModelSections
    model: Any

    @staticmethod
    def parse(path: Path, sections: ModelSections) -> Declared:
        """Raises LoweringError where the section is not a LiteRT model, or contradicts itself."""
        begin, end = sections.model.begin, sections.model.end
        if begin == end:
            raise damaged(path, "holds an empty model")
        with path.open("rb") as file:
            # Not closed here: the parsed model's vectors are views of it.
            data = mmap.mmap(file.fileno(), end - begin, offset=begin, access=mmap.ACCESS_READ)
        try:
            return Declared(path, sections, parse_model(data))
        except FlatbufferError as error:
            raise damaged(path, str(error)) from error

    def matrices(self) -> dict[str, WrittenMatrix]:
        """Every weight by name. Raises LoweringError where signatures declare one differently."""
        matrices: dict[str, WrittenMatrix] = {}
        try:
            for subgraph in self.model.subgraphs:
                for matrix in self._matrices(subgraph):
                    if not same_matrix(matrices.setdefault(matrix.name, matrix), matrix):
                        raise damaged(self.path, f"weight {matrix.name} differs between signatures")
        except DAMAGE as error:  # an index of nothing, a table that is absent
            raise damaged(self.path, "has a flatbuffer that contradicts itself") from error
        return matrices

    def _matrices(self, subgraph: Any) -> Iterator[WrittenMatrix]:
        """Tensors whose bytes lie outside the flatbuffer, but for those that are another's scales."""
        path = self.path
        scales = {index for tensor in subgraph.tensors if (index := scales_of(tensor)) is not None}
        factors = {text(tensor.name): tensor for tensor in subgraph.tensors if is_factors(tensor)}
        for index, tensor in enumerate(subgraph.tensors):
            span = self._span(tensor)
            if span is None or index in scales:
                continue
            name, shape = text(tensor.name), tuple(int(side) for side in tensor.shape)
            if tensor.type not in TYPE_BITS or len(shape) != 2 or min(shape) < 1:
                raise damaged(path, f"weight {name} has type {tensor.type} and shape {list(shape)}")
            if span.nbytes != math.prod(shape) * TYPE_BITS[tensor.type] // 8:
                raise damaged(
                    path, f"weight {name} has {span.nbytes} bytes, its shape {list(shape)} does not"
                )
            yield WrittenMatrix(
                name,
                (shape[0], shape[1]),
                tensor.type,
                span,
                *self._scales(subgraph, tensor, name),
                self._factors(factors.get(name + FACTORS_SUFFIX), name, shape[0]),
            )

    def _factors(self, tensor: Any, name: str, rows: int) -> NDArray[np.float32] | None:
        if tensor is None:
            return None
        data = self.model.buffers[tensor.buffer].data
        if tensor.type != _Type.FLOAT32 or data is None or len(data) != rows * np.float32().nbytes:
            raise damaged(self.path, f"the factors of weight {name} are not one fp32 number per row")
        return np.frombuffer(bytes(data), np.float32)

    def _span(self, tensor: Any) -> Span | None:
        """Where a tensor's bytes lie, None where in the flatbuffer or nowhere."""
        if tensor.externalBuffer:
            found = [each for each in self.model.externalBuffers or () if each.id == tensor.externalBuffer]
            if len(found) != 1:
                raise damaged(self.path, f"weight {text(tensor.name)} names no bytes")
            (external,) = found
            try:
                return Span(place_outside(self.path, self.sections, external), external.length)
            except ArtifactError as error:
                raise LoweringError(self.path, str(error), "export again") from error
        buffer, section = self.model.buffers[tensor.buffer], self.sections.model
        if buffer.offset == 0:
            return None
        if section.begin + buffer.offset + buffer.size > section.end:
            raise damaged(self.path, f"weight {text(tensor.name)} lies past the end of the file")
        return Span(section.begin + buffer.offset, buffer.size)

    def _scales(
        self, subgraph: Any, tensor: Any, name: str
    ) -> tuple[NDArray[np.float32] | None, Span | None, int]:
        """Of a weight: its scales by row, the place of those by block, how many each row has."""
        path = self.path
        if (index := scales_of(tensor)) is not None:
            holder = subgraph.tensors[index]
            rows, groups = (int(side) for side in holder.shape)
            if (holder.type, rows) != (_Type.FLOAT16, tensor.shape[0]):
                raise damaged(path, f"weight {name} has scales of type {holder.type} and {rows} rows")
            span = self._span(holder)
            if (
                span is None
                or span.nbytes != rows * groups * 2
                or groups * tensor.quantization.details.blockSize != tensor.shape[1]
            ):
                raise damaged(path, f"the scales of weight {name} do not cover it")
            return None, span, groups
        if tensor.type in FLOAT_DTYPES:
            return None, None, 0
        scale = None if tensor.quantization is None else tensor.quantization.scale
        if scale is None or len(scale) != tensor.shape[0] or tensor.quantization.quantizedDimension != 0:
            raise damaged(path, f"weight {name} has integer codes and not one scale per row")
        if np.any(tensor.quantization.zeroPoint):
            raise damaged(path, f"weight {name} has zero points")
        return np.asarray(scale, np.float32), None, 1


def same_matrix(a: WrittenMatrix, b: WrittenMatrix) -> bool:
    """Whether two tensors are the same bytes, taken for the same numbers."""
    return (
        _same(a.row_scales, b.row_scales)
        and _same(a.row_factors, b.row_factors)
        and (a.shape, a.type, a.span, a.block_scales) == (b.shape, b.type, b.span, b.block_scales)
    )


def is_factors(tensor: Any) -> bool:
    """Whether it is what comes of a weight is multiplied with."""
    return tensor.name is not None and text(tensor.name).endswith(FACTORS_SUFFIX)


def _same(a: NDArray[np.float32] | None, b: NDArray[np.float32] | None) -> bool:
    return a is b if a is None or b is None else np.array_equal(a, b)


def text(name: bytes | str) -> str:
    """A flatbuffer string as parsed from a file (bytes) or set by us (str)."""
    return name.decode("utf-8") if isinstance(name, bytes) else name


def damaged(path: Path, what: str) -> LoweringError:
    return LoweringError(path, what, "the file is damaged or of another origin; export again")
