"""How each scheme lies in a LiteRT file: tensor type, quantisation parameters, bytes.

Codes and scales are the quantised checkpoint's own; only their packing changes. Not about where in
the file they go (`writing`) or reading them back (`reading`).

    int8-, int4-, int2-channel   INT8 / INT4 / INT2 (first code in the low bits), fp32 scale per row in the
                                 flatbuffer; of INT4 and INT2 only multiplied with, in two (`row_factors`)
    int4-g32                     INT4, blockwise: a FLOAT16 tensor [rows, groups] holds the scales
    fp16                         FLOAT16; the graph widens what is read of it
    fp32                         FLOAT32
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, assert_never

import numpy as np
import torch
from ai_edge_litert import schema_py_generated as schema
from numpy.typing import NDArray
from torch import Tensor

from exporter.lowering.litert.graph import ModelBuilder, SubgraphBuilder
from exporter.lowering.litert.row_factors import BITS, FACTORS_SUFFIX, in_two
from exporter.quantization.store.checkpoint import FloatMatrix, IntegerMatrix, Matrix, row_chunks
from exporter.quantization.store.packing import as_twos_complement
from exporter.schemes import FloatScheme, IntegerScheme

SCALES_SUFFIX = "_scales"
ALIGNMENT = 64  # XNNPACK reads weights in place with vector loads
INTEGER_TYPES = {2: schema.TensorType.INT2, 4: schema.TensorType.INT4, 8: schema.TensorType.INT8}
FLOAT_TYPES = {16: schema.TensorType.FLOAT16, 32: schema.TensorType.FLOAT32}

Pieces = Callable[[], Iterator[NDArray[Any]]]


@dataclass(frozen=True)
class ExternalData:
    """The bytes of one external buffer, produced piece by piece when they are written.

    alignment: of their place, from the model's first byte.
    """

    buffer: int
    nbytes: int
    pieces: Pieces
    alignment: int = ALIGNMENT


@dataclass
class MatrixStore:
    """Gives each matrix one set of buffers for all subgraphs, and each subgraph its tensor.

    factors: [rows], what comes of the matrix is to be multiplied with (`row_factors`); None for nothing.
    """

    builder: ModelBuilder
    matrix: Matrix
    data: tuple[ExternalData, ...]
    factors: NDArray[np.float32] | None
    _scale: NDArray[np.float32] | None

    @staticmethod
    def of(
        matrix: Matrix, builder: ModelBuilder, alignment: int = ALIGNMENT, *, multiplied: bool = False
    ) -> MatrixStore:
        """Reserve buffers for a matrix, the first aligned so. Reads its scales where the flatbuffer
        holds them. multiplied: that it is multiplied with and nothing else."""
        scale = factors = None
        match matrix:
            case IntegerMatrix(scheme=IntegerScheme(group=None)):
                scale = matrix.scales(0, matrix.shape[0]).astype(np.float32).reshape(-1)
                if multiplied and matrix.scheme.bits <= BITS:
                    scale, factors = in_two(scale)
                parts = [(_code_bytes(matrix), _codes(matrix))]
            case IntegerMatrix():
                groups = matrix.scheme.groups(matrix.shape[1])
                parts = [
                    (_code_bytes(matrix), _codes(matrix)),
                    (matrix.shape[0] * groups * 2, _scales(matrix)),
                ]
            case FloatMatrix():
                parts = [(math.prod(matrix.shape) * matrix.scheme.bits // 8, _floats(matrix))]
            case _:
                assert_never(matrix)
        data = tuple(
            ExternalData(
                builder.external_buffer(nbytes), nbytes, pieces, ALIGNMENT if position else alignment
            )
            for position, (nbytes, pieces) in enumerate(parts)
        )
        return MatrixStore(builder, matrix, data, factors, scale)

    def value_in(self, graph: SubgraphBuilder) -> Tensor:
        """The matrix as a value of this subgraph, [out, in]: float16 where it is stored so, else float32
        (operations take integer codes as the numbers they stand for)."""
        tensor = schema.TensorT()
        tensor.name, tensor.hasRank = self.matrix.name, True
        tensor.shape = np.array(self.matrix.shape, np.int32)
        tensor.buffer = self.data[0].buffer
        match self.matrix.scheme:
            case IntegerScheme() as scheme:
                tensor.type = INTEGER_TYPES[scheme.bits]
                tensor.quantization = self._quantization(graph, scheme)
            case FloatScheme() as scheme:
                tensor.type = FLOAT_TYPES[scheme.bits]
            case _:
                assert_never(self.matrix.scheme)
        dtype = torch.float16 if tensor.type == schema.TensorType.FLOAT16 else torch.float32
        return graph.adopt(graph.tensor(tensor), self.matrix.shape, dtype)

    def factors_in(self, graph: SubgraphBuilder) -> Tensor | None:
        """`factors` as a value of this subgraph; equal ones of two matrices are two, for their names."""
        if self.factors is None:
            return None
        tensor = schema.TensorT()
        tensor.name, tensor.hasRank = self.matrix.name + FACTORS_SUFFIX, True
        tensor.type, tensor.shape = schema.TensorType.FLOAT32, np.array(self.factors.shape, np.int32)
        tensor.buffer = self.builder.constant_buffer(self.factors.tobytes())
        return graph.adopt(graph.tensor(tensor), self.factors.shape, torch.float32)

    def _quantization(self, graph: SubgraphBuilder, scheme: IntegerScheme) -> Any:
        quantization = schema.QuantizationParametersT()
        quantization.quantizedDimension = 0
        if self._scale is not None:
            quantization.scale = self._scale
            quantization.zeroPoint = np.zeros(self.matrix.shape[0], np.int64)
            return quantization
        scales = schema.TensorT()
        scales.name, scales.hasRank = self.matrix.name + SCALES_SUFFIX, True
        scales.type, scales.buffer = schema.TensorType.FLOAT16, self.data[1].buffer
        rows, inputs = self.matrix.shape
        scales.shape = np.array([rows, scheme.groups(inputs)], np.int32)
        details = schema.BlockwiseQuantizationT()
        details.scales, details.zeroPoints = graph.tensor(scales), -1
        details.blockSize = scheme.group
        quantization.detailsType = schema.QuantizationDetails.BlockwiseQuantization
        quantization.details = details
        return quantization


def values_in(graph: SubgraphBuilder, stores: Mapping[str, MatrixStore]) -> Callable[[str], Tensor]:
    """The matrices as values of a subgraph, by name, each declared when first asked for."""
    known: dict[str, Tensor] = {}

    def value(name: str) -> Tensor:
        if name not in known:
            known[name] = stores[name].value_in(graph)
        return known[name]

    return value


def factors_in(graph: SubgraphBuilder, stores: Mapping[str, MatrixStore]) -> Callable[[str], Tensor | None]:
    """`MatrixStore.factors_in` of a matrix by name, for matrices that are multiplied with once."""
    return lambda name: stores[name].factors_in(graph)


def _code_bytes(matrix: IntegerMatrix) -> int:
    return math.prod(matrix.shape) * matrix.scheme.bits // 8


def _codes(matrix: IntegerMatrix) -> Pieces:
    return lambda: (
        as_twos_complement(matrix.packed(start, stop), matrix.scheme.bits)
        for start, stop in row_chunks(matrix)
    )


def _scales(matrix: IntegerMatrix) -> Pieces:
    return lambda: (matrix.scales(start, stop) for start, stop in row_chunks(matrix))


def _floats(matrix: FloatMatrix) -> Pieces:
    return lambda: (matrix.stored(start, stop) for start, stop in row_chunks(matrix))
