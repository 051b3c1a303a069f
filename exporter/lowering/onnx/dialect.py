"""`OnnxDialect`: the decoder's operations as ONNX Runtime's kernels want them.

Standard operators with good kernels (RMSNormalization, Gelu, Gemm, Gather). Not about integer weights
(`integer_operators`), attention (`attention_operators`), how operators become a graph (`graph_builder`) or
where weights lie (`stored_tensors`).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from exporter.lowering.onnx.attention_operators import AttentionOperators
from exporter.lowering.onnx.graph_builder import GraphBuilder
from exporter.lowering.onnx.integer_operators import IntegerOperators, joined, stem
from exporter.lowering.onnx.stored_tensors import DataTensor, FloatBytes, Gain, Ones
from exporter.models.text.spec import LayerSpec, ModelSpec
from exporter.quantization.store.checkpoint import IntegerMatrix, Matrix

FLOAT = 1  # onnx.TensorProto.FLOAT


@dataclass
class OnnxDialect:
    """Satisfies `Dialect` for one trace.

    integers, attention: the operators of integer matrices, and over caches. all_logits: logits for every
    position, or the last one.
    """

    spec: ModelSpec
    matrices: Mapping[str, Matrix]
    integers: IntegerOperators
    attention: AttentionOperators
    all_logits: bool
    graph: GraphBuilder
    residual_scale: float = 1.0

    def embed(self, tokens: Tensor, weight: str) -> Tensor:
        matrix = self.matrices[weight]
        if isinstance(matrix, IntegerMatrix):
            return self.integers.look_up(self.graph, tokens, matrix)
        table, shape = self._floats((matrix,)), (*tokens.shape, matrix.shape[1])
        rows = self.graph.op(
            "Gather", (table, tokens), shape, {"axis": 0}, name=f"{stem(weight)}.lookup", dtype=table.dtype
        )
        return self._as_float32(rows)

    def project(self, x: Tensor, weights: Sequence[str]) -> Sequence[Tensor]:
        matrices = tuple(self.matrices[name] for name in weights)
        if len({matrix.scheme for matrix in matrices}) > 1:
            return [self._matmul(x, (matrix,)) for matrix in matrices]
        y = self._matmul(x, matrices)
        if len(matrices) == 1:
            return [y]
        rows = [matrix.shape[0] for matrix in matrices]
        sizes = self.graph.constant(np.array(rows, np.int64))
        shapes = [(*x.shape[:-1], count) for count in rows]
        return self.graph.ops("Split", (y, sizes), shapes, {"axis": -1})

    def norm(self, x: Tensor, gain: str | None, eps: float, scale: float = 1.0) -> Tensor:
        width = x.shape[-1]
        if gain is None:
            stored = DataTensor(f"ones.{width}", "float32", (width,), Ones(width))
        else:
            stored = DataTensor(gain, "float32", (width,), Gain(gain, scale))
        attributes = {"axis": -1, "epsilon": eps, "stash_type": FLOAT}
        name = None if gain is None else stem(gain)
        operands = (x, self.graph.weight(stored))
        return self.graph.op("RMSNormalization", operands, x.shape, attributes, name=name)

    def attend(self, layer: LayerSpec, q: Tensor, k: Tensor | None, v: Tensor | None) -> Tensor:
        return self.attention.attend(layer, q, k, v)

    def gelu(self, x: Tensor) -> Tensor:
        return self.graph.op("Gelu", (x,), x.shape, {"approximate": "tanh"})

    def softcap(self, x: Tensor, cap: float) -> Tensor:
        return torch.tanh(x / cap) * cap

    def vector(self, name: str) -> Tensor:
        (shape,) = (weight.shape for weight in self.spec.weights() if weight.name == name)
        return self.graph.weight(DataTensor(name, "float32", shape, Gain(name, 1.0)))

    def wanted_positions(self, x: Tensor) -> Tensor:
        if self.all_logits:
            return x
        bounds = [self.graph.constant(np.array([n], np.int64)) for n in (-1, np.iinfo(np.int64).max, 1)]
        return self.graph.op("Slice", (x, *bounds), (1, 1, x.shape[-1]), name="last_position")

    def _matmul(self, x: Tensor, matrices: tuple[Matrix, ...]) -> Tensor:
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
