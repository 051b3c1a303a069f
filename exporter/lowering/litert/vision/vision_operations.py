"""The LiteRT operations image towers need beyond the decoder's. Not about towers (`vision.dialect`)."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from ai_edge_litert import schema_py_generated as schema
from numpy.typing import NDArray
from torch import Tensor

from exporter.lowering.litert.operations import Operations

_Op = schema.BuiltinOperator


@dataclass(frozen=True)
class VisionOperations(Operations):
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
        """int32 in float32."""
        options = schema.CastOptionsT()
        options.inDataType, options.outDataType = schema.TensorType.INT32, schema.TensorType.FLOAT32
        return self.graph.emit(_Op.CAST, [x], x.shape, options=options)
