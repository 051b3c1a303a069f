"""`CoreMlSession` without a Mac: what it feeds Core ML, how it keeps its state, what it refuses.

The model is a fake that records its calls. Not asserted: that Core ML loads or runs a package.
"""

from __future__ import annotations

import sys
import types
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from runtimes.coreml.session import CoreMlSession
from runtimes.errors import ArtifactError, RuntimeUnavailable, SessionError
from runtimes.manifest import Artifact
from runtimes.session import PrefillLogits, Session, SessionFacts
from tests.refused_calls import check_refusals

VOCAB, CONTEXT, CHUNK = 7, 8, 3


class FakeModel:
    """Logits count the tokens seen through the state; remembers every call."""

    def __init__(self, last_only: bool = False, vocab: int = VOCAB) -> None:
        self.last_only = last_only
        self.vocab = vocab
        self.calls: list[Mapping[str, Any]] = []
        self.states_made = 0

    def make_state(self) -> list[int]:
        self.states_made += 1
        return []

    def predict(self, data: Mapping[str, Any], state: Any) -> Mapping[str, Any]:
        self.calls.append(data)
        tokens = data["inputIds"][0].tolist()
        assert data["causalMask"].shape[-1] == len(state) + len(tokens)
        state += tokens
        counts = np.cumsum([1] * len(tokens)) + len(state) - len(tokens)
        logits = np.repeat(counts[:, None], self.vocab, axis=1).astype(np.float16)
        return {"logits": logits[None, -1:] if self.last_only else logits[None]}


def _session(model: FakeModel, prefill_logits: PrefillLogits = "all") -> CoreMlSession:
    facts = SessionFacts("Core ML", "fake", "none", VOCAB, CONTEXT, CHUNK, prefill_logits)
    return CoreMlSession(model, facts)


def test_a_prompt_is_fed_in_chunks_with_masks_of_the_whole_past() -> None:
    model = FakeModel()
    session: Session = _session(model)
    logits = session.prefill(np.arange(5, dtype=np.int32))
    assert logits.dtype == np.float32
    assert logits[:, 0].tolist() == [1, 2, 3, 4, 5]
    assert session.decode(6)[0] == 6
    assert session.position == 6
    shapes = [(call["inputIds"].shape, call["causalMask"].shape) for call in model.calls]
    assert shapes == [
        ((1, 3), (1, 1, 3, 3)),
        ((1, 2), (1, 1, 2, 5)),
        ((1, 1), (1, 1, 1, 6)),
    ]
    assert all(call["inputIds"].dtype == np.int32 for call in model.calls)
    assert all(call["causalMask"].dtype == np.float16 for call in model.calls)
    assert not any(call["causalMask"].any() for call in model.calls)


def test_reset_takes_a_new_state() -> None:
    model = FakeModel()
    session = _session(model)
    session.prefill(np.arange(4, dtype=np.int32))
    session.reset()
    assert model.states_made == 2
    assert session.position == 0
    assert session.prefill(np.arange(2, dtype=np.int32))[:, 0].tolist() == [1, 2]


def test_a_package_of_last_logits_gives_one_row() -> None:
    with _session(FakeModel(last_only=True), "last") as session:
        logits = session.prefill(np.arange(5, dtype=np.int32))
    assert logits[:, 0].tolist() == [5]


def test_what_is_no_token_is_refused_in_every_driver_s_words() -> None:
    check_refusals(_session(FakeModel()))


def test_tokens_outside_context_or_vocabulary_are_refused() -> None:
    session = _session(FakeModel())
    with pytest.raises(SessionError, match="exceed the context of 8"):
        session.prefill(np.zeros(CONTEXT + 1, np.int32))
    with pytest.raises(SessionError, match="outside the vocabulary of 7"):
        session.decode(VOCAB)
    with pytest.raises(SessionError, match="a list of integers"):
        session.prefill(np.zeros((1, 2), np.int32))
    assert session.position == 0


def test_logits_of_another_shape_than_the_manifest_says_are_refused() -> None:
    session = _session(FakeModel(vocab=VOCAB + 1))
    with pytest.raises(ArtifactError, match=r"shape \(1, 1, 8\) where the manifest promises"):
        session.decode(0)
    assert session.position == 0


def test_a_closed_session_is_refused() -> None:
    session = _session(FakeModel())
    session.close()
    with pytest.raises(SessionError, match="closed"):
        session.decode(0)


ARTIFACT = Artifact("text", "coreml", "model.mlpackage", CONTEXT, VOCAB, CHUNK, "all")


def test_it_says_where_to_go_off_macos(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "platform", "linux")
    with pytest.raises(RuntimeUnavailable, match=r"macOS only, this is linux; use runtimes\.mil"):
        CoreMlSession.open(Path("model.mlpackage"), ARTIFACT)


def test_a_mac_without_coremltools_is_told_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "platform", "darwin")
    monkeypatch.setitem(sys.modules, "coremltools", None)
    with pytest.raises(RuntimeUnavailable, match="run-coreml"):
        CoreMlSession.open(Path("model.mlpackage"), ARTIFACT)


def _fake_coremltools(load: Any) -> types.ModuleType:
    module = types.ModuleType("coremltools")
    vars(module).update(
        __version__="9.0",
        models=types.SimpleNamespace(MLModel=load),
        ComputeUnit={"ALL": "everything", "CPU_ONLY": "the CPU"},
    )
    return module


def test_a_package_is_opened_with_the_manifests_facts(monkeypatch: pytest.MonkeyPatch) -> None:
    opened: list[tuple[str, str]] = []

    def load(path: str, compute_units: str) -> FakeModel:
        opened.append((path, compute_units))
        return FakeModel()

    monkeypatch.setattr(sys, "platform", "darwin")
    monkeypatch.setitem(sys.modules, "coremltools", _fake_coremltools(load))
    session = CoreMlSession.open(Path("m.mlpackage"), ARTIFACT, "CPU_ONLY")
    assert opened == [("m.mlpackage", "the CPU")]
    assert session.facts.context == CONTEXT
    assert session.facts.vocab_size == VOCAB
    assert session.facts.version == "coremltools 9.0"


def test_a_package_core_ml_does_not_load_is_an_artifact_error(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def load(path: str, compute_units: str) -> FakeModel:
        raise RuntimeError("Error compiling model")

    monkeypatch.setattr(sys, "platform", "darwin")
    monkeypatch.setitem(sys.modules, "coremltools", _fake_coremltools(load))
    with pytest.raises(ArtifactError, match=r"m\.mlpackage: Core ML does not load it"):
        CoreMlSession.open(Path("m.mlpackage"), ARTIFACT)
