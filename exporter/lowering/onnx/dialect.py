"""`OnnxDialect`: the decoder's operations as ONNX Runtime's kernels want them.

Standard operators with good kernels (RMSNormalization, Gelu). Not about matrices (`matrix_operators`),
attention (`attention_operators`), how operators become a graph (`graph_builder`) or where weights lie
(`stored_tensors`).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from exporter.lowering.onnx.attention_operators import AttentionOperators
from exporter.lowering.onnx.graph_builder import GraphBuilder
from exporter.lowering.onnx.integer_operators import stem
from exporter.lowering.onnx.matrix_operators import FLOAT, MatrixOperators
from exporter.lowering.onnx.stored_tensors import DataTensor, Gain, Ones
from exporter.models.text.spec import LayerSpec, ModelSpec


@dataclass(frozen=True)
class OnnxLookup:
    """Satisfies `Lookup`."""

    spec: ModelSpec
    matrices: MatrixOperators

    def embed(self, tokens: Tensor, weight: str) -> Tensor:
        return self.matrices.look_up(tokens, weight)

    def vector(self, name: str) -> Tensor:
        (shape,) = (weight.shape for weight in self.spec.weights() if weight.name == name)
        return self.matrices.graph.weight(DataTensor(name, "float32", shape, Gain(name, 1.0)))


@dataclass
class OnnxDialect:
    """Satisfies `Dialect` for one trace.

    attention: the operators that attend over caches. all_logits: logits for every position, or the last
    one.
    """

    spec: ModelSpec
    matrices: MatrixOperators
    attention: AttentionOperators
    all_logits: bool
    residual_scale: float = 1.0

    @property
    def graph(self) -> GraphBuilder:
        return self.matrices.graph

    def embed(self, tokens: Tensor, weight: str) -> Tensor:
        return OnnxLookup(self.spec, self.matrices).embed(tokens, weight)

    def project(self, x: Tensor, weights: Sequence[str]) -> Sequence[Tensor]:
        matrices = tuple(self.matrices[name] for name in weights)
        if len({matrix.scheme for matrix in matrices}) > 1:
            return [self.matrices.multiply(x, (matrix,)) for matrix in matrices]
        y = self.matrices.multiply(x, matrices)
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
        return OnnxLookup(self.spec, self.matrices).vector(name)

    def wanted_positions(self, x: Tensor) -> Tensor:
        if self.all_logits:
            return x
        bounds = [self.graph.constant(np.array([n], np.int64)) for n in (-1, np.iinfo(np.int64).max, 1)]
        return self.graph.op("Slice", (x, *bounds), (1, 1, x.shape[-1]), name="last_position")
