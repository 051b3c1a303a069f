"""The LiteRT operations towers of images and sounds need beyond the decoder's.

Not about towers (`vision.dialect`, `audio.dialect`).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from ai_edge_litert import schema_py_generated as schema
from numpy.typing import NDArray
from torch import Tensor

from exporter.lowering.litert.operations import Operations

_Op = schema.BuiltinOperator
_CAST_FROM = {torch.int32: schema.TensorType.INT32, torch.bool: schema.TensorType.BOOL}


@dataclass(frozen=True)
class TowerOperations(Operations):
    """Appends operations to one subgraph."""

    def multiply(self, a: Tensor, b: Tensor | float) -> Tensor:
        """Two constants are multiplied here: LiteRT's GPU accelerator takes no product of them."""
        left, right = self._constant(a), self._constant(b)
        if left is not None and right is not None:
            return self.graph.constant(np.asarray(left * right, np.float32))
        return super().multiply(a, b)

    def _constant(self, x: Tensor | float) -> NDArray[np.float32] | None:
        """Its value, None for what is only known when the graph runs."""
        if not isinstance(x, Tensor):
            return np.array(x, np.float32)
        buffer = self.graph.subgraph.tensors[self.graph.place(x)].buffer
        data = self.graph.parent.model.buffers[buffer].data
        return None if data is None else np.frombuffer(bytes(data), np.float32).reshape(tuple(x.shape))

    def mean_over(self, x: Tensor, axis: int) -> Tensor:
        """Mean over an axis, which is dropped."""
        options = schema.ReducerOptionsT()
        options.keepDims = False
        shape = [side for at, side in enumerate(x.shape) if at != axis]
        along = self.graph.constant(np.array([axis], np.int32))
        return self.graph.emit(_Op.MEAN, [x, along], shape, options=options)

    def as_float(self, x: Tensor) -> Tensor:
        """int32, or bool as 0 and 1, in float32."""
        options = schema.CastOptionsT()
        options.inDataType, options.outDataType = _CAST_FROM[x.dtype], schema.TensorType.FLOAT32
        return self.graph.emit(_Op.CAST, [x], x.shape, options=options)

    def between(self, x: Tensor, least: float, most: float) -> Tensor:
        """x kept within two bounds."""
        return self.minimum(self.maximum(x, least), most)

    def sigmoid(self, x: Tensor) -> Tensor:
        return self.graph.emit(_Op.LOGISTIC, [x], x.shape)

    def padded(self, x: Tensor, axis: int, before: int, behind: int) -> Tensor:
        """x with so many zeros around it along one axis."""
        around = np.zeros((x.ndim, 2), np.int32)
        around[axis] = before, behind
        shape = list(x.shape)
        shape[axis] += before + behind
        options = schema.PadOptionsT()
        return self.graph.emit(_Op.PAD, [x, self.graph.constant(around)], shape, options=options)
