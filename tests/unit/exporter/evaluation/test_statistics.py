from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from numpy.typing import NDArray

from exporter.evaluation import statistics
from exporter.evaluation.statistics import Agreement, RowReader, agree, agree_with_each

Floats = NDArray[np.float32]
rows = arrays(np.float32, (3, 7), elements=st.floats(-30, 30, width=32))
# Whole numbers, so that adding a constant is exact in float32.
whole_rows = arrays(np.float32, (3, 7), elements=st.integers(-30, 30))
NEXT = np.array([0, 3, 6], np.int32)


def some_logits(seed: int, positions: int = 40, vocab: int = 50) -> Floats:
    return (4 * np.random.default_rng(seed).standard_normal((positions, vocab))).astype(np.float32)


def naive(reference: Floats, subject: Floats, following: NDArray[np.int32]) -> dict[str, float]:
    """The definitions, position by position in Python's own floats."""
    divergences, ratios, moved, same = [], [], [], 0
    for r_row, s_row, token in zip(reference.tolist(), subject.tolist(), following.tolist(), strict=True):
        p = [math.exp(x) / math.fsum(map(math.exp, r_row)) for x in r_row]
        q = [math.exp(x) / math.fsum(map(math.exp, s_row)) for x in s_row]
        divergences.append(math.fsum(a * math.log(a / b) for a, b in zip(p, q, strict=True)))
        ratios.append(math.log(p[token] / q[token]))
        moved.append((q[token] - p[token]) ** 2)
        same += p.index(max(p)) == q.index(max(q))
    count = len(divergences)
    mean = math.fsum(ratios) / count
    spread = math.sqrt(math.fsum((x - mean) ** 2 for x in ratios) / (count - 1) / count)
    return {
        "mean_kl": math.fsum(divergences) / count,
        "max_kl": max(divergences),
        "top1": same / count,
        "perplexity_ratio": math.exp(mean),
        "perplexity_ratio_error": math.exp(mean) * spread,
        "delta_p_rms": math.sqrt(math.fsum(moved) / count),
    }


def test_figures_are_those_of_the_definitions() -> None:
    reference = some_logits(0)
    subject = reference + 0.3 * some_logits(1)
    following = np.arange(40, dtype=np.int32)
    found = agree(reference, subject, following).statistics()
    for name, expected in naive(reference, subject, following).items():
        assert getattr(found, name) == pytest.approx(expected, rel=1e-9), name
    assert found.positions == 40
    assert found.median_kl <= found.kl_90 <= found.kl_99 <= found.kl_999 <= found.max_kl


def test_block_and_thread_boundaries_change_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    reference, subject = some_logits(2, 37), some_logits(3, 37)
    following = np.arange(37, dtype=np.int32)
    whole = agree(reference, subject, following)
    monkeypatch.setattr(statistics, "BLOCK_BYTES", 3 * 50 * 8)
    assert np.array_equal(agree(reference, subject, following).kl, whole.kl)
    halves = [agree(reference[part], subject[part], following[part]) for part in (slice(20), slice(20, 37))]
    assert Agreement.joined(halves).statistics() == whole.statistics()


def test_several_references_at_once_give_each_ones_own_figures(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(statistics, "BLOCK_BYTES", 3 * 50 * 8)
    subject, following = some_logits(6, 37), np.arange(37, dtype=np.int32)
    references = [some_logits(7, 37), subject, some_logits(8, 37)]
    readers = [reader(each) for each in references]
    for found, each in zip(agree_with_each(readers, subject, following), references, strict=True):
        alone = agree(each, subject, following)
        for name in ("kl", "same_top", "reference_nll", "subject_nll"):
            np.testing.assert_allclose(getattr(found, name), getattr(alone, name), rtol=0, atol=1e-12)
        expected = naive(each, subject, following)
        assert found.statistics().mean_kl == pytest.approx(expected["mean_kl"], rel=1e-9, abs=1e-12)


def reader(logits: Floats) -> RowReader:
    return lambda start, stop: logits[start:stop]


@given(rows, rows)
def test_divergence_is_never_negative(reference: Floats, subject: Floats) -> None:
    assert (agree(reference, subject, NEXT).kl >= 0).all()


@given(rows)
def test_nothing_diverges_from_itself(logits: Floats) -> None:
    found = agree(logits, logits, NEXT).statistics()
    assert (found.mean_kl, found.max_kl, found.top1) == (0, 0, 1)
    assert (found.perplexity_ratio, found.delta_p_rms) == (1, 0)


@given(whole_rows, whole_rows, st.integers(-500, 500))
def test_a_constant_added_to_every_logit_changes_nothing(
    reference: Floats, subject: Floats, constant: int
) -> None:
    still, moved = agree(reference, subject, NEXT), agree(reference, subject + np.float32(constant), NEXT)
    np.testing.assert_allclose(moved.kl, still.kl, atol=1e-12)
    np.testing.assert_allclose(moved.subject_nll, still.subject_nll, atol=1e-12)


def test_a_divergence_far_below_float32_is_seen() -> None:
    reference = some_logits(4, 4, 1000)
    subject = reference.copy()
    subject[:, 0] = np.nextafter(subject[:, 0], np.float32(np.inf))
    found = agree(reference, subject, np.array([0, 1, 2, 3], np.int32)).statistics()
    assert 0 < found.mean_kl < 1e-12


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_a_logit_that_is_not_finite_spoils_the_mean(value: float) -> None:
    reference, subject = some_logits(5), some_logits(5)
    subject[7, 3] = value
    found = agree(reference, subject, np.zeros(40, np.int32)).statistics()
    assert not math.isfinite(found.mean_kl)
