"""`MatrixOperators`: stored matrices, in whatever scheme, looked up and multiplied with.

What text decoders and towers have in common. Not about which operators integers take
(`integer_operators`) or where bytes lie (`stored_tensors`).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from exporter.errors import LoweringError
from exporter.lowering.onnx.graph_builder import GraphBuilder
from exporter.lowering.onnx.integer_operators import IntegerOperators, joined, stem
from exporter.lowering.onnx.stored_tensors import DataTensor, FloatBytes
from exporter.quantization.store.checkpoint import IntegerMatrix, Matrix

FLOAT = 1  # onnx.TensorProto.FLOAT


@dataclass(frozen=True)
class MatrixOperators:
    """Of one graph. integers: the operators of integer matrices. widened: whether fp16 becomes fp32 before
    a row is looked up, which a runtime does when it opens the graph: GPUs that compute in no fp16 look none
    up."""

    matrices: Mapping[str, Matrix]
    integers: IntegerOperators
    graph: GraphBuilder
    widened: bool = False

    def __getitem__(self, name: str) -> Matrix:
        return self.matrices[name]

    def look_up(self, tokens: Tensor, name: str) -> Tensor:
        """Rows of a matrix: tokens [1, tokens] to [1, tokens, width]."""
        matrix = self.matrices[name]
        if isinstance(matrix, IntegerMatrix):
            return self.integers.look_up(self.graph, tokens, matrix)
        table, shape = self._floats((matrix,)), (*tokens.shape, matrix.shape[1])
        table = self._as_float32(table) if self.widened else table
        rows = self.graph.op(
            "Gather", (table, tokens), shape, {"axis": 0}, name=f"{stem(name)}.lookup", dtype=table.dtype
        )
        return self._as_float32(rows)

    def multiply(self, x: Tensor, matrices: tuple[Matrix, ...]) -> Tensor:
        """x [1, tokens, in] through matrices of one scheme, one below the other: [1, tokens, out]."""
        integers = tuple(matrix for matrix in matrices if isinstance(matrix, IntegerMatrix))
        if integers:
            return self.integers.multiply(self.graph, x, integers)
        tokens, inputs = x.shape[1], x.shape[2]
        rows = sum(matrix.shape[0] for matrix in matrices)
        weight = self._as_float32(self._floats(matrices))
        flat = self._reshape(x, (-1, inputs), (tokens, inputs))
        name = stem(joined([matrix.name for matrix in matrices]))
        y = self.graph.op("Gemm", (flat, weight), (tokens, rows), {"transB": 1}, name=name)
        return self._reshape(y, (1, -1, rows), (1, tokens, rows))

    def filters(self, name: str) -> Tensor:
        """Floats of a matrix as they are, [rows, in] in fp32: of a convolution, which no integers run."""
        matrix = self.matrices[name]
        if isinstance(matrix, IntegerMatrix):
            raise LoweringError(
                name,
                f"is a convolution's, which wants floats, and has scheme {matrix.scheme.name}",
                "give it fp16 in the recipe",
            )
        return self._as_float32(self._floats((matrix,)))

    def _reshape(self, x: Tensor, target: tuple[int, ...], shape: tuple[int, ...]) -> Tensor:
        """A reshape that stays right when the float twin asks for more positions than the last one."""
        return self.graph.op("Reshape", (x, self.graph.constant(np.array(target, np.int64))), shape)

    def _floats(self, matrices: tuple[Matrix, ...]) -> Tensor:
        names = tuple(matrix.name for matrix in matrices)
        rows, inputs = sum(matrix.shape[0] for matrix in matrices), matrices[0].shape[1]
        dtype = f"float{matrices[0].scheme.bits}"
        return self.graph.weight(DataTensor(joined(names), dtype, (rows, inputs), FloatBytes(names)))

    def _as_float32(self, x: Tensor) -> Tensor:
        return x if x.dtype == torch.float32 else self.graph.op("Cast", (x,), x.shape, {"to": FLOAT})
