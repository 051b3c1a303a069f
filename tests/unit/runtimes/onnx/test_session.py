"""The ONNX driver: caches in place, files that are not ours, a runtime that is not there.

What every driver promises is in tests/contracts.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
import pytest
from onnx import TensorProto, helper

from runtimes.errors import ArtifactError, RuntimeUnavailable
from runtimes.onnx.session import OnnxSession
from tests.unit.exporter.lowering.onnx.tiny_releases import CHUNK, CONTEXT, some_tokens


def growing_logits(path: Path, prompt: int) -> Any:
    """Logits of the last prompt token and of each further one, with caches copied call by call."""
    session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    caches = {
        value.name: np.zeros((1, value.shape[1], 0, value.shape[3]), np.float32)
        for value in session.get_inputs()
        if value.name.startswith("past_key_values.")
    }
    tokens, logits = some_tokens(CONTEXT).astype(np.int64), []
    for start, stop in [(0, prompt), *((i, i + 1) for i in range(prompt, CONTEXT))]:
        feeds = {"input_ids": tokens[None, start:stop], "attention_mask": np.ones((1, stop), np.int64)}
        found, *presents = session.run(None, {**feeds, **caches})
        names = (output.name for output in session.get_outputs()[1:])
        caches = {
            name.replace("present.", "past_key_values."): present
            for name, present in zip(names, presents, strict=True)
        }
        logits.append(found[0, -1])
    return np.stack(logits)


def test_caches_in_place_compute_what_growing_ones_do(graph: Path) -> None:
    prompt = 2 * CHUNK + 3
    tokens = some_tokens(CONTEXT)
    with OnnxSession(graph, threads=1) as session:
        last = session.prefill(tokens[:prompt])[-1]
        found = np.stack([last, *(session.decode(int(token)) for token in tokens[prompt:])])
    np.testing.assert_allclose(found, growing_logits(graph, prompt), atol=1e-4)


def test_facts_are_read_from_the_file(graph: Path) -> None:
    with OnnxSession(graph) as session:
        assert session.facts.runtime == "ONNX Runtime"
        assert session.facts.version == onnxruntime.__version__
        assert session.facts.arithmetic == "fp32"
        assert (session.facts.context, session.facts.prefill_chunk) == (CONTEXT, CHUNK)
        assert session.facts.prefill_logits == "last"


def test_a_file_of_someone_else_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "model.onnx"
    x, logits = (
        helper.make_tensor_value_info(name, TensorProto.FLOAT, [1, 1, 8]) for name in ("x", "logits")
    )
    body = helper.make_graph([helper.make_node("Identity", ["x"], ["logits"])], "g", [x], [logits])
    onnx.save(helper.make_model(body, opset_imports=[helper.make_opsetid("", 21)], ir_version=10), path)
    with pytest.raises(ArtifactError, match="not written by gemma-export"):
        OnnxSession(path)


def test_bytes_that_are_not_onnx_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "model.onnx"
    path.write_bytes(b"not a graph")
    with pytest.raises(ArtifactError, match="cannot load it"):
        OnnxSession(path)


def test_data_that_is_missing_is_refused(graph: Path, tmp_path: Path) -> None:
    path = tmp_path / graph.name
    path.write_bytes(graph.read_bytes())
    with pytest.raises(ArtifactError, match="copy the release again"):
        OnnxSession(path)


def test_without_onnxruntime_it_says_what_to_install(graph: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "onnxruntime", None)
    with pytest.raises(RuntimeUnavailable, match="run-onnx"):
        OnnxSession(graph)
