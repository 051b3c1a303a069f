"""What every driver promises, on one tiny model in every format.

Matrix: driver × promise. Not asserted here: agreement with a reference (tests/parity).
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from exporter.lowering.table import lowerings_for
from exporter.schemes import INT8_CHANNEL
from runtimes.errors import RuntimesError, SessionError
from runtimes.formats import FORMATS
from runtimes.manifest import Artifact
from runtimes.open import open_session
from runtimes.session import Session
from tests.fakes import silent
from tests.refused_calls import check_refusals
from tests.tiny import VOCABULARY, WINDOW, tiny_gemma3
from tests.tiny_releases import lowering_order, quantized

CONTEXT, CHUNK = 64, 8
TOKENS = np.random.default_rng(3).integers(6, 260, CONTEXT + 1).astype(np.int32)
CLOSE = 2e-3  # logits of different kernels for the same positions; fp16 and int8 activations included


@pytest.fixture(scope="module")
def release(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, Artifact]]:
    """The tiny model in every format, in one directory."""
    out = tmp_path_factory.mktemp("release")
    checkpoint = quantized(tmp_path_factory.mktemp("quantized"), tiny_gemma3(), INT8_CHANNEL)
    request = lowering_order(checkpoint, out, context=CONTEXT, prefill_chunk=CHUNK, prefill_logits="all")
    artifacts = [
        artifact
        for lowering in lowerings_for(FORMATS).values()
        for artifact in lowering.lower(request, out, silent)
    ]
    return out, {artifact.format: artifact for artifact in artifacts}


@pytest.fixture(scope="module", params=FORMATS)
def opened(request: pytest.FixtureRequest, release: tuple[Path, dict[str, Artifact]]) -> Iterator[Session]:
    directory, artifacts = release
    with open_session(directory, artifacts[request.param], mil_arithmetic="fp32") as session:
        yield session


@pytest.fixture
def session(opened: Session) -> Session:
    opened.reset()
    return opened


def decoded(
    session: Session, tokens: np.ndarray[tuple[int], np.dtype[np.int32]]
) -> np.ndarray[tuple[int, int], np.dtype[np.float32]]:
    return np.stack([session.decode(int(token)) for token in tokens])


def test_facts_describe_the_artifact(session: Session) -> None:
    facts = session.facts
    assert (facts.vocab_size, facts.context) == (VOCABULARY, CONTEXT)
    assert 0 < facts.prefill_chunk <= CONTEXT
    assert facts.runtime
    assert facts.version
    assert facts.arithmetic


def test_positions_count_the_tokens_given(session: Session) -> None:
    assert session.position == 0
    session.prefill(TOKENS[:11])
    assert session.position == 11
    session.decode(int(TOKENS[11]))
    assert session.position == 12
    session.reset()
    assert session.position == 0


def test_prefill_returns_the_positions_it_promises(session: Session) -> None:
    rows = {"all": 11, "last": 1, "none": 0}[session.facts.prefill_logits]
    logits = session.prefill(TOKENS[:11])
    assert logits.shape == (rows, VOCABULARY)
    assert logits.dtype == np.float32


def test_decode_returns_one_row_of_finite_logits(session: Session) -> None:
    logits = session.decode(2)
    assert logits.shape == (VOCABULARY,)
    assert logits.dtype == np.float32
    assert np.isfinite(logits).all()


def test_logits_are_the_callers_to_keep(session: Session) -> None:
    first = session.decode(int(TOKENS[0]))
    kept = first.copy()
    session.decode(int(TOKENS[1]))
    np.testing.assert_array_equal(first, kept)


@pytest.mark.parametrize("split", [1, CHUNK - 1, CHUNK, 2 * CHUNK + 3, WINDOW + CHUNK + 1])
def test_a_prefilled_prompt_continues_like_a_decoded_one(session: Session, split: int) -> None:
    end = split + 12
    expected = decoded(session, TOKENS[:end])[split:]
    session.reset()
    session.prefill(TOKENS[:split])
    np.testing.assert_allclose(decoded(session, TOKENS[split:end]), expected, atol=CLOSE)


def test_prefill_and_decode_may_alternate(session: Session) -> None:
    expected = decoded(session, TOKENS[:40])[-1]
    session.reset()
    session.prefill(TOKENS[:5])
    session.decode(int(TOKENS[5]))
    session.prefill(TOKENS[6:30])
    session.prefill(TOKENS[30:39])
    np.testing.assert_allclose(session.decode(int(TOKENS[39])), expected, atol=CLOSE)


def test_a_reset_session_is_as_new(session: Session) -> None:
    first = decoded(session, TOKENS[:20])
    session.reset()
    np.testing.assert_array_equal(decoded(session, TOKENS[:20]), first)


def test_the_whole_context_can_be_used_by_prefill(session: Session) -> None:
    expected = decoded(session, TOKENS[:CONTEXT])[-1]
    session.reset()
    session.prefill(TOKENS[: CONTEXT - 1])
    np.testing.assert_allclose(session.decode(int(TOKENS[CONTEXT - 1])), expected, atol=CLOSE)
    assert session.position == CONTEXT


def test_a_full_context_refuses_another_token(session: Session) -> None:
    session.prefill(TOKENS[:CONTEXT])
    with pytest.raises(SessionError, match=str(CONTEXT)):
        session.decode(2)
    assert session.position == CONTEXT


def test_a_prompt_beyond_the_context_is_refused_whole(session: Session) -> None:
    with pytest.raises(SessionError, match=str(CONTEXT)):
        session.prefill(TOKENS[: CONTEXT + 1])
    assert session.position == 0


@pytest.mark.parametrize("token", [-1, VOCABULARY])
def test_a_token_out_of_range_is_refused(session: Session, token: int) -> None:
    with pytest.raises(SessionError, match=str(token)):
        session.decode(token)
    with pytest.raises(SessionError, match=str(token)):
        session.prefill(np.array([3, token], np.int32))
    assert session.position == 0


def test_what_is_no_token_is_refused_in_the_same_words_and_the_session_stays_usable(
    session: Session,
) -> None:
    check_refusals(session)


@pytest.mark.parametrize("format", FORMATS)
def test_a_closed_session_cannot_be_used(release: tuple[Path, dict[str, Artifact]], format: str) -> None:
    directory, artifacts = release
    session = open_session(directory, artifacts[format], mil_arithmetic="fp32")
    session.close()
    with pytest.raises(SessionError, match="the session is closed; open the artifact again"):
        session.decode(-1)
    with pytest.raises(SessionError, match="the session is closed; open the artifact again"):
        session.prefill(TOKENS[:0])


@pytest.mark.parametrize("format", FORMATS)
def test_a_truncated_artifact_is_refused(
    release: tuple[Path, dict[str, Artifact]], format: str, tmp_path: Path
) -> None:
    directory, artifacts = release
    artifact = artifacts[format]
    files = [path for path in directory.rglob("*") if path.is_file()]
    for path in files:
        copy = tmp_path / path.relative_to(directory)
        copy.parent.mkdir(parents=True, exist_ok=True)
        copy.write_bytes(path.read_bytes())
    inside = [
        path
        for path in (tmp_path / artifact.path, *(tmp_path / artifact.path).rglob("*"))
        if path.is_file()
    ]
    beside = list((tmp_path / artifact.path).parent.glob(f"{Path(artifact.path).name}*data"))
    largest = max(inside + beside, key=lambda path: path.stat().st_size)
    with largest.open("r+b") as file:
        file.truncate(largest.stat().st_size // 2)
    with pytest.raises(RuntimesError, match=r"\S"):
        open_session(tmp_path, artifact, mil_arithmetic="fp32").decode(2)
