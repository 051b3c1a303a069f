"""The ONNX float twin cut in two: the same logits as the uncut graph's call by call."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import onnx
import pytest

from exporter.lowering.interface import Segment
from exporter.lowering.onnx import twin_run
from exporter.lowering.onnx.float_twin import float_twin
from exporter.lowering.onnx.twin_run import LOGITS, OnnxTwin
from exporter.schemes import FP16, FP32, INT4_G32, INT8_CHANNEL, Scheme
from runtimes.errors import ArtifactError, SessionError
from runtimes.session import Logits
from tests.tiny import TINY_CONFIGS
from tests.tiny_releases import CHUNK, CONTEXT, quantized, some_tokens
from tests.unit.exporter.lowering.onnx.tiny_releases import LOWERING, TinyRelease, lowered, onnx_logits

TOKENS = some_tokens(CONTEXT)
TURNS = (
    Segment("prefill", CHUNK + 3),
    Segment("decode", 2),
    Segment("prefill", CHUNK + 1),
    Segment("decode", CONTEXT - 2 * CHUNK - 6),
)


def taken(twin: OnnxTwin, segments: tuple[Segment, ...] = TURNS) -> Logits:
    return np.concatenate([rows for _, rows in twin.run(segments, TOKENS, lambda done: None)])


def joined(twin: OnnxTwin) -> Path:
    """Body and head as one graph again, beside them."""
    body, head = (onnx.load(str(path), load_external_data=False) for path in (twin.body, twin.head))
    for node in body.graph.node:
        for names in (node.input, node.output):
            names[:] = [twin_run.HIDDEN if name == LOGITS else name for name in names]
    body.graph.output.remove(body.graph.output[0])
    body.graph.output.insert(0, head.graph.output[0])
    known = {tensor.name for tensor in body.graph.initializer}
    body.graph.initializer.extend(each for each in head.graph.initializer if each.name not in known)
    body.graph.node.extend(head.graph.node)
    path = twin.body.with_name("whole.onnx")
    onnx.save(body, str(path))
    return path


@pytest.mark.parametrize(
    ("family", "scheme"),
    [(family, INT8_CHANNEL) for family in sorted(TINY_CONFIGS)]
    + [("Gemma 3", scheme) for scheme in (INT4_G32, FP16, FP32)],
    ids=lambda each: each if isinstance(each, str) else each.name,
)
def test_rows_of_the_batched_head_are_those_of_single_calls(
    family: str, scheme: Scheme, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(twin_run, "BLOCK_ROWS", 7)  # which parts segments and chunks anywhere
    release = lowered(tmp_path, quantized(tmp_path, TINY_CONFIGS[family](), scheme))
    twin = float_twin(release.directory, release.artifact, tmp_path / "twin")
    singly = onnx_logits(joined(twin), TOKENS, 1)
    found = taken(twin, (Segment("decode", CONTEXT),))
    assert found.shape == singly.shape == (CONTEXT, release.artifact.vocab_size)
    np.testing.assert_allclose(found, singly, rtol=1e-5, atol=1e-5 * np.abs(singly).max())
    np.testing.assert_allclose(taken(twin), singly, rtol=1e-4, atol=1e-4 * np.abs(singly).max())


def test_rows_come_in_order_and_all_tokens_are_told(
    int8_release: TinyRelease, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(twin_run, "BLOCK_ROWS", 10)
    twin = LOWERING.float_twin(int8_release.directory, int8_release.artifact, tmp_path)
    told = list[int]()
    places = [(start, len(rows)) for start, rows in twin.run(TURNS, TOKENS, told.append)]
    starts = range(0, CONTEXT, 10)
    assert places == [(start, min(10, CONTEXT - start)) for start in starts]
    assert told == sorted(told)
    assert told[-1] == CONTEXT


def test_the_facts_are_of_the_whole_graph(int8_release: TinyRelease, tmp_path: Path) -> None:
    twin = LOWERING.float_twin(int8_release.directory, int8_release.artifact, tmp_path)
    artifact = int8_release.artifact
    assert (twin.facts.vocab_size, twin.facts.context) == (artifact.vocab_size, artifact.context)
    assert (twin.facts.arithmetic, twin.facts.prefill_logits) == ("fp32", "all")


def test_without_fp32_matrices_weights_are_on_disk_once(int8_release: TinyRelease, tmp_path: Path) -> None:
    release = int8_release.copy(tmp_path)
    twin = float_twin(release.directory, release.artifact, tmp_path, matrix_bytes=0)
    written = [path for path in twin.body.parent.iterdir() if path.stat().st_nlink == 1]
    assert sorted(written) == sorted([twin.body, twin.head])
    for path in written:
        assert path.stat().st_size < release.path.with_name("model.onnx.data").stat().st_size


def test_a_token_outside_the_vocabulary_is_refused(int8_release: TinyRelease, tmp_path: Path) -> None:
    twin = LOWERING.float_twin(int8_release.directory, int8_release.artifact, tmp_path)
    outside = np.array([int8_release.artifact.vocab_size], np.int32)
    with pytest.raises(SessionError, match="outside the vocabulary"):
        next(twin.run((Segment("decode", 1),), outside, lambda done: None))


def test_a_head_of_another_vocabulary_is_refused(int8_release: TinyRelease, tmp_path: Path) -> None:
    twin = LOWERING.float_twin(int8_release.directory, int8_release.artifact, tmp_path)
    larger = replace(twin, vocab_size=int8_release.artifact.vocab_size + 1)
    with pytest.raises(SessionError, match="export again"):
        taken(larger)


def test_a_head_that_cannot_be_loaded_is_an_error(int8_release: TinyRelease, tmp_path: Path) -> None:
    twin = LOWERING.float_twin(int8_release.directory, int8_release.artifact, tmp_path)
    twin.head.write_bytes(b"no graph")
    with pytest.raises(ArtifactError, match=r"head\.onnx: ONNX Runtime cannot load it"):
        taken(twin)
