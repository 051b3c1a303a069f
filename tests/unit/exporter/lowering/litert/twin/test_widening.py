"""Shares of a stage for many calls at once: for every family, in bounded memory, or refused."""

from __future__ import annotations

import copy
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from ai_edge_litert import schema_py_generated as schema

from exporter.errors import LoweringError
from exporter.lowering.litert.reading import LiteRtFile
from exporter.lowering.litert.signatures import DECODE
from exporter.lowering.litert.twin import widening
from exporter.lowering.litert.twin.float_graph import FloatGraph, float_graph
from exporter.lowering.litert.twin.stages import StageShare, cut
from exporter.lowering.litert.twin.widening import calls_at_once, widened
from exporter.schemes import INT8_CHANNEL
from tests.tiny import TINY_CONFIGS, VOCABULARY
from tests.unit.exporter.lowering.litert.tiny_releases import TinyRelease, lowered, quantized

CALLS = 5
_Op = schema.BuiltinOperator


def shares(graph: FloatGraph) -> Iterator[StageShare]:
    """What of a decode step knows nothing of the step before."""
    for stage in cut(graph, {DECODE}, 1 << 30):
        if not stage.caches:
            yield stage.parts[DECODE]


@pytest.fixture(scope="module")
def graph(tmp_path_factory: pytest.TempPathFactory) -> FloatGraph:
    directory = tmp_path_factory.mktemp("graph")
    release = lowered(directory, quantized(directory, TINY_CONFIGS["Gemma 3"](), INT8_CHANNEL))
    return float_graph(LiteRtFile.open(release.path()), 1 << 20)


@pytest.fixture(scope="module")
def share(graph: FloatGraph) -> StageShare:
    """The first one: lookup, norm, split of activations, projections, RoPE."""
    return next(shares(graph))


def first(graph: FloatGraph, share: StageShare, operator: int) -> int:
    return next(at for at, node in enumerate(share.operators) if graph.operator(node) == operator)


def with_constant(graph: FloatGraph, share: StageShare, values: list[int]) -> tuple[FloatGraph, StageShare]:
    """Both with one tensor more, the last."""
    tensor, buffer = schema.TensorT(), schema.BufferT()
    tensor.buffer, tensor.shape = len(graph.buffers), np.array([len(values)], np.int32)
    buffer.data = np.array(values, np.int32).view(np.uint8)
    signature = replace(share.signature, tensors=[*share.signature.tensors, tensor])
    return replace(graph, buffers=[*graph.buffers, buffer]), replace(share, signature=signature)


@pytest.mark.parametrize("family", TINY_CONFIGS)
@pytest.mark.parametrize("form", ["tflite", "litertlm"])
def test_all_that_crosses_is_that_of_every_call(family: str, form: str, tmp_path: Path) -> None:
    release: TinyRelease = lowered(tmp_path, quantized(tmp_path, TINY_CONFIGS[family](), INT8_CHANNEL))
    graph = float_graph(LiteRtFile.open(release.path(form)), 1 << 20)
    for share in shares(graph):
        _, wide = widened(graph, share, CALLS)
        assert wide.calls == CALLS
        assert wide.inputs == share.inputs
        assert wide.outputs == share.outputs
        for index in (*wide.inputs.values(), *wide.outputs.values()):
            shape = wide.shape(index)
            assert shape[0] == CALLS
            assert np.prod(shape) == CALLS * np.prod(share.shape(index))


def test_the_graph_itself_is_left_as_it_was(graph: FloatGraph, share: StageShare) -> None:
    shapes = [share.shape(index) for index in share.outputs.values()]
    buffers = len(graph.buffers)
    wide_graph, _ = widened(graph, share, CALLS)
    assert len(wide_graph.buffers) > buffers == len(graph.buffers)
    assert [share.shape(index) for index in share.outputs.values()] == shapes


@pytest.mark.parametrize(
    ("count", "expected"), [(0, 1), (1, 1), (3, 3), (8, 8), (9, 5), (16, 8), (17, 6), (1261, 8)]
)
def test_calls_are_dealt_out_evenly(
    count: int, expected: int, share: StageShare, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(widening, "CALLS_AT_ONCE", 8)
    assert calls_at_once(share, count) == expected


def test_no_result_is_larger_than_it_may_be(graph: FloatGraph, monkeypatch: pytest.MonkeyPatch) -> None:
    *_, head = shares(graph)
    logits = 2 * VOCABULARY * 4  # of both parts of the split activations
    for batch in (3 * logits, 4 * logits - 1):
        monkeypatch.setattr(widening, "BATCH_BYTES", batch)
        assert calls_at_once(head, 1000) == 3
    monkeypatch.setattr(widening, "BATCH_BYTES", logits - 1)
    assert calls_at_once(head, 1000) == 1, "a call at least"


def test_an_operator_without_such_a_form_is_refused(graph: FloatGraph, share: StageShare) -> None:
    node = copy.copy(share.operators[first(graph, share, _Op.MUL)])
    codes = [code.builtinCode for code in graph.operator_codes]
    node.opcodeIndex = codes.index(_Op.BATCH_MATMUL)
    with pytest.raises(LoweringError, match=f"operator {_Op.BATCH_MATMUL} of signature decode has no form"):
        widened(graph, replace(share, operators=(node,)), CALLS)


@pytest.mark.parametrize("operator", [_Op.CONCATENATION, _Op.MEAN])
def test_an_operator_along_the_axis_of_calls_is_refused(
    operator: int, graph: FloatGraph, share: StageShare
) -> None:
    """Were the axis not checked, values of several calls would be mixed."""
    at = first(graph, share, operator)
    operators = list(share.operators)
    node = operators[at] = copy.copy(operators[at])
    if operator == _Op.MEAN:
        graph, share = with_constant(graph, share, [0])  # along the first axis
        node.inputs = np.array([node.inputs[0], len(share.signature.tensors) - 1], np.int32)
    else:
        axis = share.shape(int(node.outputs[0])).index(1)
        node.builtinOptions = copy.copy(node.builtinOptions)
        node.builtinOptions.axis = axis
    with pytest.raises(LoweringError, match=f"operator {operator} of signature decode has no form"):
        widened(graph, replace(share, operators=tuple(operators)), CALLS)


def test_operands_whose_calls_lie_on_different_axes_are_refused(
    graph: FloatGraph, share: StageShare
) -> None:
    """A sum of [2, 1, in] and [1, 1, in] is no sum of [calls, 2, in] and [calls, 1, in]."""
    concatenation = share.operators[first(graph, share, _Op.CONCATENATION)]
    node = copy.copy(share.operators[first(graph, share, _Op.MUL)])
    node.inputs = np.array([concatenation.outputs[0], concatenation.inputs[0]], np.int32)
    node.outputs = concatenation.outputs
    operators = (*share.operators[: first(graph, share, _Op.CONCATENATION) + 1], node)
    with pytest.raises(LoweringError, match=f"operator {_Op.MUL} of signature decode has no form"):
        widened(graph, replace(share, operators=operators), CALLS)
