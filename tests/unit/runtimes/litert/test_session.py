"""The LiteRT driver: chunks, the end of the context, reset, and what it refuses."""

from __future__ import annotations

import os
import shutil
import sys
import tempfile
from pathlib import Path

import numpy as np
import pytest

from runtimes.errors import ArtifactError, RuntimeUnavailable, SessionError
from runtimes.litert.session import LiteRtSession
from runtimes.native_log import native_log_kept
from runtimes.open import open_session
from runtimes.session import Logits, Tokens
from tests.tiny import VOCABULARY
from tests.unit.exporter.lowering.litert.tiny_releases import CHUNK, CONTEXT, TinyRelease, some_tokens

ROUNDING = 1e-4  # matrix products of many rows and of one add in another order


def _decoded(session: LiteRtSession, tokens: Tokens) -> Logits:
    return np.stack([session.decode(int(token)) for token in tokens])


def test_facts_are_known_before_anything_runs(tiny_release: TinyRelease) -> None:
    with LiteRtSession.open(tiny_release.path()) as session:
        facts = session.facts
        assert (facts.runtime, facts.vocab_size, facts.context) == ("LiteRT", VOCABULARY, CONTEXT)
        assert (facts.prefill_chunk, facts.prefill_logits) == (CHUNK, "none")
        assert "int8" in facts.arithmetic
        assert session.position == 0


def test_a_float_artifact_says_that_it_does_not_round(float_release: TinyRelease) -> None:
    with LiteRtSession.open(float_release.path("litertlm")) as session:
        assert session.facts.arithmetic == "fp32"


@pytest.mark.parametrize("prefilled", [1, CHUNK - 1, CHUNK, CHUNK + 1, 3 * CHUNK + 7, CONTEXT - 3])
def test_a_prefill_leaves_what_decoding_would_have(prefilled: int, float_release: TinyRelease) -> None:
    tokens = some_tokens(CONTEXT)
    with LiteRtSession.open(float_release.path()) as session:
        one_by_one = _decoded(session, tokens)
        session.reset()
        assert session.prefill(tokens[:prefilled]).shape == (0, VOCABULARY)
        assert session.position == prefilled
        rest = _decoded(session, tokens[prefilled:])
    np.testing.assert_allclose(rest, one_by_one[prefilled:], atol=ROUNDING)


def test_a_padded_tail_near_the_end_of_the_context_leaves_earlier_positions_alone(
    float_release: TinyRelease,
) -> None:
    tokens = some_tokens(CONTEXT)
    with LiteRtSession.open(float_release.path()) as session:
        one_by_one = _decoded(session, tokens)
        session.reset()
        # Pieces off the chunk's grid, so that padded tails fall everywhere, past the end too.
        for start in range(0, CONTEXT - 1, 5):
            session.prefill(tokens[start : min(start + 5, CONTEXT - 1)])
        last = session.decode(int(tokens[-1]))
    np.testing.assert_allclose(last, one_by_one[-1], atol=ROUNDING)


def test_reset_forgets_everything(tiny_release: TinyRelease) -> None:
    tokens = some_tokens(30)
    with LiteRtSession.open(tiny_release.path()) as session:
        first = _decoded(session, tokens)
        session.reset()
        assert session.position == 0
        np.testing.assert_array_equal(_decoded(session, tokens), first)


def test_prefill_and_decode_alternate(float_release: TinyRelease) -> None:
    tokens = some_tokens(50)
    with LiteRtSession.open(float_release.path()) as session:
        one_by_one = _decoded(session, tokens)
        session.reset()
        found = []
        for start in range(0, 50, 10):
            session.prefill(tokens[start : start + 9])
            found.append(session.decode(int(tokens[start + 9])))
    np.testing.assert_allclose(np.stack(found), one_by_one[9::10], atol=ROUNDING)


def test_the_context_and_the_vocabulary_are_limits(tiny_release: TinyRelease) -> None:
    with LiteRtSession.open(tiny_release.path()) as session:
        with pytest.raises(SessionError, match="exceed the context"):
            session.prefill(some_tokens(CONTEXT + 1))
        for token in (-1, VOCABULARY):
            with pytest.raises(SessionError, match="outside the vocabulary"):
                session.decode(token)
        assert session.position == 0
        session.prefill(some_tokens(CONTEXT))
        with pytest.raises(SessionError, match="exceed the context"):
            session.decode(7)


def test_a_closed_session_says_so_and_leaves_nothing_behind(
    tiny_release: TinyRelease, tmp_path: Path
) -> None:
    session = LiteRtSession.open(tiny_release.path("litertlm"), scratch=tmp_path)
    assert list(tmp_path.iterdir())
    session.close()
    session.close()
    assert not list(tmp_path.iterdir())
    with pytest.raises(SessionError, match="closed"):
        session.decode(7)
    with pytest.raises(SessionError, match="closed"):
        session.reset()


def test_a_bundle_is_run_without_a_copy_of_its_weights(tiny_release: TinyRelease, tmp_path: Path) -> None:
    bundle = tiny_release.path("litertlm")
    with LiteRtSession.open(bundle, scratch=tmp_path) as session:
        (head,) = tmp_path.rglob("head.tflite")
        data = head.read_bytes()
        assert str(bundle.resolve()).encode() in data
        weights = sum(
            matrix.shape[0] * matrix.shape[1] for matrix in tiny_release.checkpoint.matrices.values()
        )
        whole = tiny_release.path().stat().st_size
        assert whole - len(data) > 0.9 * weights
        assert session.decode(7).shape == (VOCABULARY,)


def test_without_the_vendor_runtime_the_extra_is_named(
    tiny_release: TinyRelease, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "ai_edge_litert.compiled_model", None)
    with pytest.raises(RuntimeUnavailable, match="run-litert"):
        LiteRtSession.open(tiny_release.path())


@pytest.mark.parametrize("form", ["tflite", "litertlm"])
def test_a_damaged_artifact_is_refused(form: str, tiny_release: TinyRelease, tmp_path: Path) -> None:
    scratch = tmp_path / "scratch"
    scratch.mkdir()
    sound = tiny_release.path(form).read_bytes()
    cut = tmp_path / f"model.{form}"
    for data in (b"", sound[:7], sound[: len(sound) // 2], b"x" * 4096):
        cut.write_bytes(data)
        with pytest.raises(ArtifactError, match="again"):
            LiteRtSession.open(cut, scratch=scratch)
    assert not list(scratch.iterdir())


@pytest.mark.parametrize(("form", "other"), [("tflite", "litertlm"), ("litertlm", "tflite")])
def test_one_format_in_the_place_of_the_other_is_refused(
    form: str, other: str, tiny_release: TinyRelease, tmp_path: Path
) -> None:
    artifact = tiny_release.artifacts[form]
    with open_session(tiny_release.directory, artifact) as session:
        assert session.decode(7).shape == (VOCABULARY,)
    shutil.copy(tiny_release.path(other), tmp_path / artifact.path)
    with pytest.raises(ArtifactError, match=rf"holds a \.{other}, and its release calls it a \.{form}"):
        open_session(tmp_path, artifact)


def test_an_absent_artifact_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ArtifactError, match="cannot be read"):
        LiteRtSession.open(tmp_path / "model.tflite")


def test_the_runtimes_log_stays_off_the_terminal(
    tiny_release: TinyRelease, capfd: pytest.CaptureFixture[str]
) -> None:
    with LiteRtSession.open(tiny_release.path()) as session:
        session.decode(7)
    assert capfd.readouterr().err == ""


def test_what_is_logged_natively_is_kept() -> None:
    with tempfile.TemporaryFile(), native_log_kept() as log:
        os.write(2, b"INFO: fine\nERROR: [x.cc:1] weight is missing\n")
    assert log.errors() == "ERROR: [x.cc:1] weight is missing"
