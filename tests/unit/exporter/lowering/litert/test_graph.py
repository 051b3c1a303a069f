"""Building subgraphs: names, constants, what is dropped, what is refused."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from ai_edge_litert import schema_py_generated as schema

from exporter.errors import LoweringError
from exporter.lowering.litert.graph import ModelBuilder, SubgraphBuilder
from exporter.lowering.litert.operations import Operations
from exporter.lowering.litert.tracing import ArithmeticTracer


def _graph() -> SubgraphBuilder:
    return SubgraphBuilder(ModelBuilder(), "decode")


def test_operations_nobody_reads_are_dropped_with_their_tensors() -> None:
    graph = _graph()
    ops, x = Operations(graph), graph.input("x", (2, 3), torch.float32)
    kept = ops.tanh(x)
    ops.multiply(ops.rsqrt(x), 7.0)
    graph.finish({"y": kept})
    codes = [graph.parent.model.operatorCodes[node.opcodeIndex] for node in graph.subgraph.operators]
    assert [code.builtinCode for code in codes] == [schema.BuiltinOperator.TANH]
    assert [tensor.name for tensor in graph.subgraph.tensors] == ["decode_x", "t1"]
    assert graph.subgraph.outputs.tolist() == [1]


def test_an_input_nothing_reads_is_still_an_input() -> None:
    graph = _graph()
    x, _ = graph.input("x", (2,), torch.float32), graph.input("unused", (5,), torch.int32)
    graph.finish({"y": Operations(graph).tanh(x)})
    (signature,) = graph.parent.model.signatureDefs
    assert [entry.name for entry in signature.inputs] == ["x", "unused"]
    assert [tensor.shape.tolist() for tensor in graph.subgraph.tensors[:2]] == [[2], [5]]


def test_equal_constants_are_stored_once_for_all_subgraphs() -> None:
    builder = ModelBuilder()
    places = [
        SubgraphBuilder(builder, name).constant(np.arange(4, dtype=np.float32)) for name in ("a", "b")
    ]
    assert len(places) == 2
    assert len(builder.model.buffers) == 2  # the empty one and this


def test_a_value_from_outside_the_graph_is_refused() -> None:
    graph = _graph()
    with pytest.raises(LoweringError, match="outside the graph"):
        Operations(graph).tanh(torch.empty(3, device="meta"))


def test_torch_arithmetic_becomes_operations() -> None:
    graph = _graph()
    x = graph.input("x", (1, 4, 6), torch.float32)
    with ArithmeticTracer(Operations(graph)):
        y = (x * 2.0 + x).reshape(1, 4, 2, 3)[:, :, 1]
    graph.finish({"y": y})
    names = {
        value: name for name, value in vars(schema.BuiltinOperator).items() if not name.startswith("_")
    }
    codes = [graph.parent.model.operatorCodes[node.opcodeIndex] for node in graph.subgraph.operators]
    assert [names[code.builtinCode] for code in codes] == ["MUL", "ADD", "RESHAPE", "SLICE", "RESHAPE"]
    assert tuple(y.shape) == (1, 4, 3)


def test_torch_arithmetic_without_an_operation_is_refused_by_name() -> None:
    graph = _graph()
    x = graph.input("x", (2, 2), torch.float32)
    with ArithmeticTracer(Operations(graph)), pytest.raises(LoweringError, match=r"aten\.exp"):
        torch.exp(x)


def test_transposing_axes_of_one_moves_no_data() -> None:
    graph = _graph()
    x = graph.input("x", (1, 1, 4, 8), torch.float32)
    y = Operations(graph).transpose(x, [0, 2, 1, 3])
    assert tuple(y.shape) == (1, 4, 1, 8)
    (code,) = graph.parent.model.operatorCodes
    assert code.builtinCode == schema.BuiltinOperator.RESHAPE
