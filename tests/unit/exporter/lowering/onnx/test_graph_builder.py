"""What the graph builder records, what it simplifies, what it refuses."""

from __future__ import annotations

import numpy as np
import onnx
import onnxruntime
import pytest
import torch

from exporter.errors import LoweringError
from exporter.lowering.onnx.graph_builder import TOKENS, GraphBuilder
from exporter.lowering.onnx.stored_tensors import DataTensor, Ones


def test_what_is_recorded_computes_what_torch_does() -> None:
    with GraphBuilder() as graph:
        x = graph.input("x", torch.float32, (1, TOKENS, 6))
        halves = ((x * 2.0 - 3.0) / 4.0).reshape(1, x.shape[1], 2, 3)
        y = torch.tanh(halves[:, :, 1] + halves[:, :, 0] * 0.5)
        graph.output(y, "y", (1, TOKENS, 3))
    model = graph.model([])
    onnx.checker.check_model(model)
    session = onnxruntime.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    given = torch.randn(1, 5, 6, generator=torch.Generator().manual_seed(0))
    halves = ((given * 2.0 - 3.0) / 4.0).reshape(1, 5, 2, 3)
    expected = torch.tanh(halves[:, :, 1] + halves[:, :, 0] * 0.5).numpy()
    np.testing.assert_allclose(session.run(["y"], {"x": given.numpy()})[0], expected, atol=1e-6)


def test_an_operation_without_translation_is_refused_by_name() -> None:
    with GraphBuilder() as graph:
        x = graph.input("x", torch.float32, (1, TOKENS, 6))
        with pytest.raises(LoweringError, match=r"aten\.exp"):
            torch.exp(x)


def test_a_selection_that_moves_no_axis_is_left_to_the_dialect() -> None:
    with GraphBuilder() as graph:
        x = graph.input("x", torch.float32, (1, TOKENS, 6))
        with pytest.raises(LoweringError, match="a slice"):
            x[:, :, 2:4]


def test_a_tensor_from_elsewhere_is_refused() -> None:
    stranger = torch.zeros(6, device="meta")
    with GraphBuilder() as graph:
        x = graph.input("x", torch.float32, (1, TOKENS, 6))
        with pytest.raises(LoweringError, match="does not know"):
            x + stranger


def test_a_reshape_that_undoes_another_leaves_no_operator() -> None:
    with GraphBuilder() as graph:
        x = graph.input("x", torch.float32, (1, TOKENS, 6))
        back = x.reshape(1, x.shape[1], 2, 3).reshape(1, x.shape[1], 6)
        assert graph.name_of(back) == "x"


def test_a_reshape_may_hold_one_dynamic_side_only() -> None:
    with GraphBuilder() as graph:
        x = graph.input("x", torch.float32, (TOKENS, TOKENS))
        with pytest.raises(LoweringError, match="two dynamic sides"):
            x.reshape(x.shape[0], 1, x.shape[1])


def test_constants_are_shared_by_content_and_kept_apart_by_shape() -> None:
    with GraphBuilder() as graph:
        ones = [graph.name_of(graph.constant(np.ones(2, np.float32))) for _ in range(2)]
        empty = {graph.name_of(graph.constant(np.zeros((1, 0, n), np.float32))) for n in (3, 4)}
    assert ones[0] == ones[1]
    assert len(empty) == 2


def test_two_contents_cannot_share_a_name() -> None:
    with GraphBuilder() as graph:
        graph.weight(DataTensor("gain", "float32", (4,), Ones(4)))
        with pytest.raises(LoweringError, match="name of two"):
            graph.weight(DataTensor("gain", "float32", (5,), Ones(5)))
