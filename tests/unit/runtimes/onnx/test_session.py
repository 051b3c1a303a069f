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
from runtimes.manifest import Artifact, EncoderArtifact
from runtimes.onnx.multimodal_session import OnnxMultimodalSession
from runtimes.onnx.session import METADATA, OnnxSession
from runtimes.opening import EncoderOpening
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


def written(path: Path, takes: str, gives: str, ours: bool = True) -> Path:
    """A graph that gives what it takes. ours: and says of itself what those of releases say."""
    x, y = (helper.make_tensor_value_info(name, TensorProto.FLOAT, [1, 1, 8]) for name in (takes, gives))
    body = helper.make_graph([helper.make_node("Identity", [takes], [gives])], "g", [x], [y])
    model = helper.make_model(body, opset_imports=[helper.make_opsetid("", 21)], ir_version=10)
    said = {"context": "8", "prefill_chunk": "4", "arithmetic": "fp32", "image_token": "5"}
    helper.set_model_props(model, {f"{METADATA}{key}": value for key, value in said.items() if ours})
    onnx.save(model, path)
    return path


def test_a_file_of_someone_else_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ArtifactError, match="not written by gemma-export"):
        OnnxSession(written(tmp_path / "model.onnx", "input_ids", "logits", ours=False))


def test_a_graph_of_another_name_is_refused(tmp_path: Path) -> None:
    OnnxSession(written(tmp_path / "model.onnx", "input_ids", "logits")).close()
    with pytest.raises(ArtifactError, match=r"model\.onnx: takes inputs_embeds, which no such graph"):
        OnnxSession(written(tmp_path / "model.onnx", "inputs_embeds", "logits"))


@pytest.mark.parametrize(
    ("takes", "gives", "says"),
    [
        ("input_ids", "inputs_embeds", None),
        ("pixel_values", "inputs_embeds", r"embedding\.onnx: takes pixel_values, which no such graph"),
        ("input_ids", "logits", r"embedding\.onnx: makes \['logits'\], and its decoder takes"),
    ],
)
def test_another_graph_in_the_place_of_embeddings_is_refused(
    takes: str, gives: str, says: str | None, tmp_path: Path
) -> None:
    written(tmp_path / "decoder.onnx", "inputs_embeds", "logits")
    written(tmp_path / "embedding.onnx", takes, gives)
    encoder = EncoderArtifact("vision", "onnx", "vision.onnx", "decoder.onnx", soft_tokens=4, width=8)
    artifact = Artifact(
        "text", "onnx", "model.onnx", 8, vocab_size=8, prefill_chunk=4, prefill_logits="last"
    )
    opening = EncoderOpening(tmp_path, encoder, artifact, 1, "fp32")
    if says is None:
        OnnxMultimodalSession(opening).close()
        return
    with pytest.raises(ArtifactError, match=says):
        OnnxMultimodalSession(opening)


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
