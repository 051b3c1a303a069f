"""`MilSession`: positions, chunks, refusals, facts."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from runtimes.errors import ArtifactError, SessionError
from runtimes.mil.session import EVALUATOR_VERSION, MilSession
from runtimes.session import Session, SessionFacts
from tests.parity.mil_packages import CHUNK, CONTEXT, VOCAB, edit, language_model_logits, operation

TOKENS = np.array([3, 1, 4, 1, 5, 9, 2, 6], np.int32)


def test_facts_come_from_the_package(language_model: Path) -> None:
    session: Session = MilSession.open(language_model, "fp16")
    assert session.facts == SessionFacts(
        runtime="MIL evaluator",
        version=EVALUATOR_VERSION,
        arithmetic="fp16, rounded once per operation, fp32 inside operations",
        vocab_size=VOCAB,
        context=CONTEXT,
        prefill_chunk=CHUNK,
        prefill_logits="all",
    )


@pytest.mark.parametrize("chunk", [1, 2, CHUNK])
def test_prefill_and_decode_may_alternate(language_model: Path, chunk: int) -> None:
    expected = language_model_logits(TOKENS.tolist())
    with MilSession.open(language_model, prefill_chunk=chunk) as session:
        got = [
            session.prefill(TOKENS[:3]),
            session.decode(int(TOKENS[3]))[None],
            session.prefill(TOKENS[4:]),
        ]
        assert session.position == len(TOKENS)
    np.testing.assert_allclose(np.concatenate(got), expected, rtol=1e-5, atol=1e-5)


def test_a_prompt_longer_than_a_chunk_is_split(language_model: Path) -> None:
    assert len(TOKENS) > CHUNK
    with MilSession.open(language_model) as session:
        got = session.prefill(TOKENS)
    np.testing.assert_allclose(got, language_model_logits(TOKENS.tolist()), rtol=1e-5, atol=1e-5)


def test_reset_forgets_every_token(language_model: Path) -> None:
    with MilSession.open(language_model) as session:
        first = session.prefill(TOKENS)
        session.reset()
        assert session.position == 0
        np.testing.assert_array_equal(session.prefill(TOKENS), first)


def test_the_context_is_not_exceeded(language_model: Path) -> None:
    with MilSession.open(language_model) as session:
        session.prefill(np.zeros(CONTEXT, np.int32))
        with pytest.raises(SessionError, match=f"1 tokens at position {CONTEXT} exceed"):
            session.decode(0)
        assert session.position == CONTEXT
        session.reset()
        with pytest.raises(SessionError, match="exceed the context"):
            session.prefill(np.zeros(CONTEXT + 1, np.int32))
        assert session.position == 0


@pytest.mark.parametrize("token", [-1, VOCAB])
def test_a_token_outside_the_vocabulary_is_refused(language_model: Path, token: int) -> None:
    with MilSession.open(language_model) as session:
        with pytest.raises(SessionError, match=f"token {token} is outside the vocabulary of 11"):
            session.prefill(np.array([0, token], np.int32))
        with pytest.raises(SessionError, match=f"token {token} is outside the vocabulary of 11"):
            session.decode(token)
        assert session.position == 0


def test_tokens_that_are_no_list_of_integers_are_refused(language_model: Path) -> None:
    with MilSession.open(language_model) as session:
        for tokens in (np.zeros((1, 2), np.int32), np.zeros(2, np.float32)):
            with pytest.raises(SessionError, match="a list of integers"):
                session.prefill(tokens)  # type: ignore[arg-type]  # what is under test


def test_a_closed_session_is_refused(language_model: Path) -> None:
    session = MilSession.open(language_model)
    session.close()
    session.close()
    for call in (lambda: session.decode(0), session.reset, lambda: session.prefill(TOKENS)):
        with pytest.raises(SessionError, match="closed"):
            call()


def test_a_chunk_of_nothing_is_refused(language_model: Path) -> None:
    with pytest.raises(SessionError, match="prefill chunk of 0"):
        MilSession.open(language_model, prefill_chunk=0)


def test_a_package_of_other_names_is_not_a_language_model(damaged: Path) -> None:
    def rename(block: Any) -> None:
        operation(block, "linear").outputs[0].name = "scores"
        block.outputs[0] = "scores"

    edit(damaged, rename)
    with pytest.raises(ArtifactError, match=r"outputs \['scores'\] are not those of a language model"):
        MilSession.open(damaged)


def test_a_package_that_returns_one_position_says_so(damaged: Path) -> None:
    def last(block: Any) -> None:
        dimension = operation(block, "linear").outputs[0].type.tensorType.dimensions[1]
        dimension.constant.size = 1

    edit(damaged, last)
    with MilSession.open(damaged, prefill_chunk=1) as session:
        assert session.facts.prefill_logits == "last"
        logits = session.prefill(TOKENS)
    np.testing.assert_allclose(logits, language_model_logits(TOKENS.tolist())[-1:], rtol=1e-5, atol=1e-5)
