"""`TowerOperators`: what image towers and audio encoders have in common, as ONNX Runtime's kernels want it.

Not about matrices (`matrix_operators`) or what is computed of them (`vision_dialect`, `audio_dialect`).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from exporter.lowering.onnx.graph_builder import GraphBuilder
from exporter.lowering.onnx.integer_operators import stem
from exporter.lowering.onnx.matrix_operators import FLOAT, MatrixOperators
from exporter.lowering.onnx.stored_tensors import DataTensor, Ones, VectorBytes
from exporter.models.vision.spec import BOUNDS
from exporter.quantization.store.checkpoint import StoredTower


@dataclass
class TowerOperators:
    """Of one trace."""

    stored: StoredTower
    matrices: MatrixOperators

    @property
    def graph(self) -> GraphBuilder:
        return self.matrices.graph

    def project(self, x: Tensor, weight: str, bias: str | None = None, clip: str | None = None) -> Tensor:
        """As the dialects have it, of whichever scheme the matrix is."""
        matrix = (self.matrices[weight],)
        if clip is None:
            y = self.matrices.multiply(x, matrix)
            return y if bias is None else y + self.vector(bias)
        lowest, highest, least, most = (self._bound(f"{clip}.{bound}") for bound in BOUNDS)
        kept = self.graph.op("Clip", (x, lowest, highest), x.shape)
        y = self.matrices.multiply(kept, matrix)
        return self.graph.op("Clip", (y, least, most), y.shape)

    def norm(self, x: Tensor, gain: str | None, eps: float, adds_one: bool = False) -> Tensor:
        """RMSNorm over the last axis times the gain, or one more than it."""
        width = x.shape[-1]
        if gain is None:
            weight = self.graph.weight(DataTensor(f"ones.{width}", "float32", (width,), Ones(width)))
        else:
            weight = self._vector(gain, 1.0 if adds_one else 0.0)
        attributes = {"axis": -1, "epsilon": eps, "stash_type": FLOAT}
        name = None if gain is None else stem(gain)
        return self.graph.op("RMSNormalization", (x, weight), x.shape, attributes, name=name)

    def vector(self, name: str) -> Tensor:
        """A weight of one axis as it is."""
        return self._vector(name, 0.0)

    def _vector(self, name: str, plus: float) -> Tensor:
        shape = self.stored.vectors[name].shape
        return self.graph.weight(DataTensor(name, "float32", shape, VectorBytes(name, plus)))

    def _bound(self, name: str) -> Tensor:
        return self.graph.constant(self.stored.vectors[name].reshape(()))

    def _cast(self, x: Tensor, to: int, dtype: torch.dtype) -> Tensor:
        return self.graph.op("Cast", (x,), x.shape, {"to": to}, dtype=dtype)

    def _unsqueeze(self, x: Tensor, *axes: int) -> Tensor:
        shape = list(x.shape)
        for axis in axes:
            shape.insert(axis, 1)
        return self.graph.op(
            "Unsqueeze", (x, self.graph.constant(np.array(axes, np.int64))), shape, dtype=x.dtype
        )

    def _number(self, n: int) -> Tensor:
        return self.graph.constant(np.array(n, np.int64))
