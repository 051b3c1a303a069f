"""The LiteRT operations the decoder needs, one method each, over values of a `SubgraphBuilder`.

Not about Gemma: what they are combined to is the dialect's. Operator versions are the lowest whose
semantics we use; shapes are checked here because the runtime's own messages name no operation.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from ai_edge_litert import schema_py_generated as schema
from torch import Tensor

from exporter.lowering.litert.graph import SubgraphBuilder

_Op = schema.BuiltinOperator


@dataclass(frozen=True)
class Operations:
    """Appends operations to one subgraph."""

    graph: SubgraphBuilder

    def scalar(self, value: float) -> Tensor:
        return self.graph.constant(np.array(value, np.float32))

    def add(self, a: Tensor, b: Tensor | float) -> Tensor:
        return self._arithmetic(_Op.ADD, schema.AddOptionsT(), a, b)

    def subtract(self, a: Tensor, b: Tensor | float) -> Tensor:
        return self._arithmetic(_Op.SUB, schema.SubOptionsT(), a, b)

    def multiply(self, a: Tensor, b: Tensor | float) -> Tensor:
        return self._arithmetic(_Op.MUL, schema.MulOptionsT(), a, b)

    def divide(self, a: Tensor, b: Tensor) -> Tensor:
        return self._arithmetic(_Op.DIV, schema.DivOptionsT(), a, b)

    def absolute(self, x: Tensor) -> Tensor:
        return self.graph.emit(_Op.ABS, [x], x.shape, options=schema.AbsOptionsT())

    def maximum(self, x: Tensor, bound: float) -> Tensor:
        """The larger of x and bound."""
        options = schema.MaximumMinimumOptionsT()
        return self.graph.emit(
            _Op.MAXIMUM, [x, self._like(x, bound)], x.shape, options=options, dtype=x.dtype
        )

    def minimum(self, x: Tensor, bound: float) -> Tensor:
        """The smaller of x and bound."""
        options = schema.MaximumMinimumOptionsT()
        return self.graph.emit(
            _Op.MINIMUM, [x, self._like(x, bound)], x.shape, options=options, dtype=x.dtype
        )

    def round(self, x: Tensor) -> Tensor:
        """To the nearest integer, halves to even."""
        return self.graph.emit(_Op.ROUND, [x], x.shape)

    def rsqrt(self, x: Tensor) -> Tensor:
        return self.graph.emit(_Op.RSQRT, [x], x.shape)

    def tanh(self, x: Tensor) -> Tensor:
        return self.graph.emit(_Op.TANH, [x], x.shape)

    def gelu(self, x: Tensor) -> Tensor:
        """GELU, tanh approximation."""
        options = schema.GeluOptionsT()
        options.approximate = True
        return self.graph.emit(_Op.GELU, [x], x.shape, options=options)

    def softmax(self, x: Tensor) -> Tensor:
        """Softmax over the last axis."""
        options = schema.SoftmaxOptionsT()
        options.beta = 1.0
        return self.graph.emit(_Op.SOFTMAX, [x], x.shape, options=options)

    def mean(self, x: Tensor) -> Tensor:
        """Mean over the last axis, kept as an axis of 1."""
        return self._reduce(_Op.MEAN, x, x.ndim - 1)

    def largest(self, x: Tensor) -> Tensor:
        """Maximum over the last axis, kept as an axis of 1."""
        return self._reduce(_Op.REDUCE_MAX, x, x.ndim - 1)

    def smallest(self, x: Tensor) -> Tensor:
        """Minimum over the last axis, kept as an axis of 1."""
        return self._reduce(_Op.REDUCE_MIN, x, x.ndim - 1)

    def sum_first(self, x: Tensor) -> Tensor:
        """Sum over the first axis, kept as an axis of 1. By slices: for each SUM over a first axis XNNPACK
        holds zeros of the result's size all the time, a third of what a 1B in int8 had of its own."""
        first, *others = (self.slice(x, 0, at, at + 1) for at in range(x.shape[0]))
        return functools.reduce(self.add, others, first)

    def running_sum(self, x: Tensor) -> Tensor:
        """Sum along the last axis up to each entry and with it."""
        along = self.graph.constant(np.array(x.ndim - 1, np.int32))
        return self.graph.emit(_Op.CUMSUM, [x, along], x.shape, options=schema.CumsumOptionsT())

    def floor_mod(self, x: Tensor, divisor: int) -> Tensor:
        """What is left of int32 x, 0 to divisor - 1, whatever the sign of x."""
        options = schema.FloorModOptionsT()
        return self.graph.emit(
            _Op.FLOOR_MOD, [x, self._like(x, divisor)], x.shape, options=options, dtype=torch.int32
        )

    def greater_equal(self, x: Tensor, bound: Tensor | float) -> Tensor:
        """x >= bound, which is broadcast to x."""
        limit = bound if isinstance(bound, Tensor) else self._like(x, bound)
        return self.graph.emit(_Op.GREATER_EQUAL, [x, limit], x.shape, dtype=torch.bool)

    def select(self, condition: Tensor, where_true: Tensor, where_false: Tensor) -> Tensor:
        """Scalars chosen by a condition."""
        return self.graph.emit(
            _Op.SELECT_V2,
            [condition, where_true, where_false],
            condition.shape,
            options=schema.SelectV2OptionsT(),
        )

    def reshape(self, x: Tensor, shape: Sequence[int]) -> Tensor:
        if math.prod(shape) != x.numel():
            raise ValueError(f"cannot reshape {list(x.shape)} to {list(shape)}")
        if tuple(shape) == tuple(x.shape):
            return x
        target = self.graph.constant(np.array(shape, np.int32))
        return self.graph.emit(_Op.RESHAPE, [x, target], shape, dtype=x.dtype)

    def transpose(self, x: Tensor, order: Sequence[int]) -> Tensor:
        shape = [x.shape[axis] for axis in order]
        # Moving axes of length 1 moves no data.
        moving = [axis for axis in order if x.shape[axis] != 1]
        if moving == sorted(moving):
            return self.reshape(x, shape)
        permutation = self.graph.constant(np.array(order, np.int32))
        return self.graph.emit(_Op.TRANSPOSE, [x, permutation], shape, dtype=x.dtype)

    def slice(self, x: Tensor, axis: int, start: int, stop: int) -> Tensor:
        begin = np.zeros(x.ndim, np.int32)
        size = np.array(x.shape, np.int32)
        begin[axis], size[axis] = start, stop - start
        return self.graph.emit(
            _Op.SLICE,
            [x, self.graph.constant(begin), self.graph.constant(size)],
            size.tolist(),
            dtype=x.dtype,
        )

    def gather(self, x: Tensor, indices: Tensor, axis: int) -> Tensor:
        """Entries of x along one axis, by int32 indices [count]."""
        options = schema.GatherOptionsT()
        options.axis = axis
        shape = list(x.shape)
        shape[axis] = indices.shape[0]
        return self.graph.emit(_Op.GATHER, [x, indices], shape, options=options, dtype=x.dtype)

    def concatenate(self, parts: Sequence[Tensor], axis: int) -> Tensor:
        options = schema.ConcatenationOptionsT()
        options.axis = axis
        shape = list(parts[0].shape)
        shape[axis] = sum(part.shape[axis] for part in parts)
        return self.graph.emit(_Op.CONCATENATION, parts, shape, options=options, dtype=parts[0].dtype)

    def pack(self, scalars: Sequence[Tensor]) -> Tensor:
        """int32 scalars to a vector of them."""
        options = schema.PackOptionsT()
        options.valuesCount, options.axis = len(scalars), 0
        return self.graph.emit(_Op.PACK, scalars, [len(scalars)], options=options, dtype=torch.int32)

    def update_slice(self, into: Tensor, update: Tensor, start: Tensor) -> Tensor:
        """`into` with `update` written at `start` [rank]; the runtime clamps what would not fit."""
        return self.graph.emit(_Op.DYNAMIC_UPDATE_SLICE, [into, update, start], into.shape)

    def embedding(self, rows: Tensor, table: Tensor) -> Tensor:
        """Rows [count] of a table [rows, width], float32: [count, width]."""
        if table.dtype == torch.float16:
            # LiteRT's GPU accelerator knows no EMBEDDING_LOOKUP of float16, and widens constants alone.
            return self._cast_wide(self.gather(table, rows, 0))
        return self.graph.emit(_Op.EMBEDDING_LOOKUP, [rows, table], (rows.shape[0], table.shape[1]))

    def widen(self, x: Tensor) -> Tensor:
        """A stored float16 weight in float32; float32 stays as it is."""
        if x.dtype != torch.float16:
            return x
        return self.graph.emit(_Op.DEQUANTIZE, [x], x.shape)

    def _cast_wide(self, x: Tensor) -> Tensor:
        """What was computed in float16, in float32."""
        options = schema.CastOptionsT()
        options.inDataType, options.outDataType = schema.TensorType.FLOAT16, schema.TensorType.FLOAT32
        return self.graph.emit(_Op.CAST, [x], x.shape, options=options)

    def fully_connected(self, x: Tensor, weight: Tensor) -> Tensor:
        """x [.., in] times weight [out, in] transposed: [.., out]."""
        if x.shape[-1] != weight.shape[1]:
            raise ValueError(f"cannot multiply {list(x.shape)} by a weight {list(weight.shape)}")
        options = schema.FullyConnectedOptionsT()
        options.keepNumDims = True
        return self.graph.emit(
            _Op.FULLY_CONNECTED,
            [x, self.widen(weight), None],
            (*x.shape[:-1], weight.shape[0]),
            options=options,
            version=5,
        )

    def matmul_transposed(self, a: Tensor, b: Tensor) -> Tensor:
        """a [.., m, k] times b [.., n, k] transposed, over equal leading axes: [.., m, n]."""
        if a.shape[:-2] != b.shape[:-2] or a.shape[-1] != b.shape[-1]:
            raise ValueError(f"cannot multiply {list(a.shape)} by {list(b.shape)} transposed")
        options = schema.BatchMatMulOptionsT()
        options.adjY = True
        return self.graph.emit(_Op.BATCH_MATMUL, [a, b], (*a.shape[:-1], b.shape[-2]), options=options)

    def _like(self, x: Tensor, value: float) -> Tensor:
        """A number of the type of x."""
        dtype = np.int32 if x.dtype == torch.int32 else np.float32
        return self.graph.constant(np.array(value, dtype))

    def _reduce(self, operator: int, x: Tensor, axis: int) -> Tensor:
        options = schema.ReducerOptionsT()
        options.keepDims = True
        shape = list(x.shape)
        shape[axis] = 1
        along = self.graph.constant(np.array([axis], np.int32))
        return self.graph.emit(operator, [x, along], shape, options=options)

    def _arithmetic(self, operator: int, options: object, a: Tensor, b: Tensor | float) -> Tensor:
        other = b if isinstance(b, Tensor) else self._like(a, b)
        shape = np.broadcast_shapes(a.shape, other.shape)
        return self.graph.emit(operator, [a, other], shape, options=options, dtype=a.dtype)
