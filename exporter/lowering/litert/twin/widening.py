"""One share of a stage for many calls at once: the same operators, each over every call's values.

A call's tensor [.., 1, ..] becomes [calls, ..]: the calls' values one behind the other, in place of its
first axis of length 1, so that no tensor gains an axis. Along its other axes an operator does what it did;
weights and other constants are the same for every call. Only for shares that carry nothing from one call
to the next, of a signature that takes one token. Not about running them (`stage_run`).
"""

from __future__ import annotations

import copy
import math
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
from ai_edge_litert import schema_py_generated as schema

from exporter.errors import LoweringError
from exporter.lowering.litert.twin.float_graph import FLOAT_BYTES, FloatGraph
from exporter.lowering.litert.twin.stages import StageShare

CALLS_AT_ONCE = 128  # more make multiplying no faster
BATCH_BYTES = 32 << 20  # of the largest result for all calls at once
_Op = schema.BuiltinOperator
_REDUCING = {_Op.MEAN, _Op.SUM, _Op.REDUCE_MAX, _Op.REDUCE_MIN}
_ELEMENTWISE = {
    _Op.ADD,
    _Op.SUB,
    _Op.MUL,
    _Op.DIV,
    _Op.MAXIMUM,
    _Op.MINIMUM,
    _Op.ROUND,
    _Op.RSQRT,
    _Op.TANH,
    _Op.ABS,
    _Op.GELU,
    _Op.CAST,
    _Op.DEQUANTIZE,
    _Op.GREATER_EQUAL,
    _Op.SELECT_V2,
}
Extents = list[int]


def calls_at_once(share: StageShare, count: int) -> int:
    """How many of `count` calls a share should take at once, the last time as well."""
    shapes = (share.shape(index) for node in share.operators for index in node.outputs.tolist())
    largest = max(math.prod(shape) * FLOAT_BYTES for shape in shapes)
    most = min(CALLS_AT_ONCE, max(1, BATCH_BYTES // largest))
    times = max(1, -(-count // most))
    return max(1, -(-count // times))


def widened(graph: FloatGraph, share: StageShare, calls: int) -> tuple[FloatGraph, StageShare]:
    """The share for `calls` calls, and the graph with constants for it.

    Raises LoweringError for an operator that has no such form.
    """
    form = _WideForm(graph, share, calls)
    operators = tuple(form.operator(node) for node in share.operators)
    signature = replace(share.signature, tensors=form.tensors)
    wide = replace(share, signature=signature, operators=operators, calls=calls)
    return replace(graph, buffers=form.buffers), wide


class _WideForm:
    """axes: of each computed tensor, the axis whose place the calls take."""

    def __init__(self, graph: FloatGraph, share: StageShare, calls: int) -> None:
        self.graph, self.share = graph, share
        self.buffers, self.tensors = list(graph.buffers), list(share.signature.tensors)
        self.axes: dict[int, int] = {}
        results = (index for node in share.operators for index in node.outputs.tolist())
        for index in (*share.inputs.values(), *results):
            shape = share.shape(index)
            if 1 in shape:
                self.axes[index] = shape.index(1)
                tensor = self.tensors[index] = copy.copy(self.tensors[index])
                tensor.shape = np.array([calls, *_without(shape, self.axes[index])], np.int32)

    def operator(self, node: Any) -> Any:
        (result,) = node.outputs.tolist()
        if result not in self.axes:
            raise self._no_form(node)
        changed = copy.copy(node)
        changed.inputs = node.inputs.copy()
        code, axis = self.graph.operator(node), self.axes[result]
        if code == _Op.RESHAPE:  # to the shape of the result; the order of values is the same
            possible = int(node.inputs[0]) in self.axes
            changed.inputs = node.inputs[:1]
            changed.builtinOptionsType = schema.BuiltinOptions.ReshapeOptions
            changed.builtinOptions = schema.ReshapeOptionsT()
            changed.builtinOptions.newShape = self.tensors[result].shape
        elif code == _Op.CONCATENATION:
            possible = self._concatenation(changed, axis)
        elif code == _Op.SLICE:
            possible = self._slice(changed, result)
        elif code in _REDUCING:
            possible = self._reduction(changed, result)
        elif code == _Op.FULLY_CONNECTED:
            last = len(self.share.shape(result)) - 1
            possible = self.axes.get(int(node.inputs[0])) == axis < last
        elif code == _Op.EMBEDDING_LOOKUP:
            possible = self.axes.get(int(node.inputs[0])) == axis == 0
        elif code == _Op.GATHER:  # rows of a table
            possible = self.axes.get(int(node.inputs[1])) == axis == node.builtinOptions.axis == 0
        else:
            possible = code in _ELEMENTWISE and self._is_elementwise(node, result)
        if not possible:
            raise self._no_form(node)
        return changed

    def _concatenation(self, node: Any, axis: int) -> bool:
        along, operands = node.builtinOptions.axis, node.inputs.tolist()
        node.builtinOptions = copy.copy(node.builtinOptions)
        node.builtinOptions.axis = _moved(along, axis)
        return along != axis and all(self._may_be_at(index, axis) for index in operands)

    def _slice(self, node: Any, result: int) -> bool:
        axis = self.axes.get(int(node.inputs[0]))
        if axis is None:
            return False
        start, size = self._constant(node, 1), self._constant(node, 2)
        self._put_constant(node, 1, [0, *_without(start, axis)])
        self._put_constant(node, 2, [int(self.tensors[result].shape[0]), *_without(size, axis)])
        return self._may_be_at(result, axis)

    def _reduction(self, node: Any, result: int) -> bool:
        axis = self.axes.get(int(node.inputs[0]))
        (along,) = self._constant(node, 1)
        if axis is None or along == axis:
            return False
        self._put_constant(node, 1, [_moved(along, axis)])
        return self._may_be_at(result, axis)

    def _is_elementwise(self, node: Any, result: int) -> bool:
        axis, rank = self.axes[result], len(self.share.shape(result))
        for index in node.inputs.tolist():
            shape = self.share.shape(index)
            if index in self.axes and (self.axes[index], len(shape)) != (axis, rank):
                return False
            before = [1] * (rank - len(shape)) + shape
            if index not in self.axes and math.prod(before[: axis + 1]) != 1:
                return False
        return True

    def _may_be_at(self, index: int, axis: int) -> bool:
        """Whether the calls' values lie the same if they take that axis of a computed tensor."""
        shape = self.share.shape(index)
        return (
            index in self.axes
            and shape[axis] == 1
            and _without(shape, axis) == _without(shape, self.axes[index])
        )

    def _constant(self, node: Any, operand: int) -> list[int]:
        buffer = self.tensors[node.inputs[operand]].buffer
        values: list[int] = np.frombuffer(bytes(self.buffers[buffer].data), np.int32).tolist()
        return values

    def _put_constant(self, node: Any, operand: int, values: Sequence[int]) -> None:
        tensor = copy.copy(self.tensors[node.inputs[operand]])
        tensor.buffer = len(self.buffers)
        buffer = schema.BufferT()
        buffer.data = np.array(values, np.int32).view(np.uint8)
        self.buffers.append(buffer)
        node.inputs[operand] = len(self.tensors)
        self.tensors.append(tensor)

    def _no_form(self, node: Any) -> LoweringError:
        return LoweringError(
            self.graph.file.path,
            f"operator {self.graph.operator(node)} of signature {self.share.signature.key} has no form for "
            "many calls at once",
            "this is a fault of gemma-export; please report it",
        )


def _without(values: Sequence[int], axis: int) -> Extents:
    return [*values[:axis], *values[axis + 1 :]]


def _moved(axis: int, replaced: int) -> int:
    """Where an axis is once the calls, in place of another, have come to the front."""
    return axis + 1 if axis < replaced else axis
