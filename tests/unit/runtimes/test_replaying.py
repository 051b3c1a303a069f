"""How far logits are from recorded ones: nothing from their own, never further than they really are."""

from __future__ import annotations

import math

import numpy as np
import pytest
from numpy.typing import NDArray

from runtimes.errors import ArtifactError
from runtimes.recorded_calls import ExpectedLogits, RecordedArtifact, RecordedCall, ReplayTolerances
from runtimes.replaying import TOP, divergence, replay, summary
from tests.scripted_session import ScriptedSession

GENERATOR = np.random.default_rng(3)


def some_logits(spread: float = 3.0) -> NDArray[np.float32]:
    return (spread * GENERATOR.standard_normal(400)).astype(np.float32)


def true_kl(p: NDArray[np.float32], q: NDArray[np.float32]) -> float:
    logs = [each.astype(np.float64) - np.log(np.exp(each.astype(np.float64)).sum()) for each in (p, q)]
    return float((np.exp(logs[0]) * (logs[0] - logs[1])).sum())


def test_the_largest_logits_are_kept_in_falling_order_and_equal_ones_by_id() -> None:
    logits = np.zeros(400, np.float32)
    logits[[9, 4]] = 5.0
    kept = summary(logits, 3)
    assert kept.position == 3
    assert kept.tokens[:3] == (4, 9, 0)
    assert len(kept.tokens) == len(kept.logits) == TOP
    many_alike = some_logits().round()
    in_order = sorted(range(400), key=lambda token: (-many_alike[token], token))
    assert summary(many_alike, 0).tokens == tuple(in_order[:TOP])


@pytest.mark.parametrize("spread", [0.1, 3.0, 30.0])
def test_logits_diverge_by_nothing_from_their_own_record(spread: float) -> None:
    logits = some_logits(spread)
    assert divergence(summary(logits, 0), logits) < 1e-7
    assert divergence(summary(logits, 0), logits + np.float32(100)) < 1e-7, "only differences count"


def test_rounding_is_nothing_where_one_token_is_nearly_certain() -> None:
    for _ in range(200):
        logits = some_logits()
        logits[17] = 25.0 + GENERATOR.random()
        assert divergence(summary(logits, 0), logits) < 1e-7


def test_a_record_sees_no_more_than_there_is_and_most_of_it() -> None:
    for _ in range(20):
        logits, others = some_logits(), some_logits()
        seen, whole = divergence(summary(logits, 0), others), true_kl(logits, others)
        assert 0.5 * whole < seen <= whole + 1e-6


@pytest.mark.parametrize("bad", [math.nan, math.inf, -math.inf])
def test_a_logit_that_is_not_finite_is_infinitely_far(bad: float) -> None:
    logits = some_logits()
    other = logits.copy()
    other[17] = bad
    assert divergence(summary(logits, 0), other) == math.inf


def recorded(*calls: RecordedCall) -> RecordedArtifact:
    return RecordedArtifact("model.onnx", "a script", ReplayTolerances(1e-3, 0.1), calls)


def expected_of(token: int, position: int) -> ExpectedLogits:
    return summary(ScriptedSession.logits_after(token), position)


def test_calls_are_made_in_order_from_an_empty_cache_and_compared_where_expected() -> None:
    session = ScriptedSession(prefill_logits="last")
    session.prefill(np.array([5], np.int32))
    record = recorded(
        RecordedCall("prefill", (1, 2, 3), (expected_of(3, 2),)),
        RecordedCall("decode", (4,), (expected_of(4, 0),)),
        RecordedCall("prefill", (6, 7), ()),
    )
    told: list[int] = []
    found = replay(session, record, told.append)
    assert session.seen == [1, 2, 3, 4, 6, 7]
    assert (found.positions, found.same_choice) == (2, 2)
    assert found.max_kl < 1e-6
    assert told == [3, 4, 6]


def test_one_position_that_is_wrong_is_the_largest_divergence() -> None:
    session = ScriptedSession(prefill_logits="all")
    calls = RecordedCall("prefill", (1, 2), (expected_of(1, 0), expected_of(9, 1)))
    found = replay(session, recorded(calls))
    assert found.same_choice == 1
    assert found.max_kl == pytest.approx(2 * found.mean_kl, rel=1e-3)
    assert found.max_kl > 0.1


def test_a_position_that_does_not_come_back_is_an_error() -> None:
    session = ScriptedSession(prefill_logits="none")
    with pytest.raises(ArtifactError, match="returns logits of 0 positions for 2 tokens"):
        replay(session, recorded(RecordedCall("prefill", (1, 2), (expected_of(2, 1),))))
