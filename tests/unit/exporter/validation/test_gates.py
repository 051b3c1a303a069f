from __future__ import annotations

import math
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from exporter.evaluation.statistics import Statistics
from exporter.planning.recipe import QualityLimit
from exporter.validation.gates import (
    SETTLED_ON,
    count_gate,
    limit_of_few,
    mean_kl_gate,
    quality_gates,
    skipped_gate,
)
from exporter.validation.verdict import Failed, Passed, Skipped, outcome

GOOD = Statistics(SETTLED_ON, 0.005, 0, 0, 0, 0, 0, 0.97, 10, 1, 0, 0)
LIMIT = QualityLimit(0.01, 0.96, "for tests")


@pytest.mark.parametrize(
    ("statistics", "expected"),
    [
        (GOOD, (Passed, Passed)),
        (replace(GOOD, mean_kl=0.011), (Failed, Passed)),
        (replace(GOOD, top1=0.959), (Passed, Failed)),
        (replace(GOOD, mean_kl=math.nan), (Failed, Passed)),
    ],
)
def test_quality_is_held_against_both_limits(statistics: Statistics, expected: tuple[type, type]) -> None:
    gates = quality_gates("end to end", "model", "subject", statistics, LIMIT)
    assert tuple(type(gate.verdict) for gate in gates) == expected
    assert [gate.statistic for gate in gates] == ["mean KL", "top-1"]


@pytest.mark.parametrize(
    ("positions", "missed", "expected"),
    [
        (63, 3, Passed),
        (63, 6, Failed),
        (31, 3, Passed),
        (31, 4, Failed),
        (SETTLED_ON, 40, Passed),
        (SETTLED_ON, 41, Failed),
    ],
)
def test_few_tokens_are_granted_what_chance_does_to_them(
    positions: int, missed: int, expected: type
) -> None:
    few = replace(GOOD, positions=positions, top1=1 - missed / positions)
    assert isinstance(quality_gates("end to end", "model", "subject", few, LIMIT)[1].verdict, expected)


@given(st.integers(1, 2 * SETTLED_ON), st.floats(0, 1), st.floats(0, 10))
def test_a_limit_grows_narrower_with_the_text_and_never_than_the_recipes(
    positions: int, top1: float, mean_kl: float
) -> None:
    limit = QualityLimit(mean_kl, top1, "for tests")
    here, further = limit_of_few(limit, positions), limit_of_few(limit, positions + 1)
    assert here.top1 <= further.top1 <= limit.top1
    assert here.mean_kl >= further.mean_kl >= limit.mean_kl
    assert limit_of_few(limit, SETTLED_ON) == limit


def test_a_limit_is_included_and_what_is_beyond_it_is_not() -> None:
    at = mean_kl_gate("lowering", "model", "twin", replace(GOOD, mean_kl=1e-6), 1e-6)
    beyond = mean_kl_gate("lowering", "model", "twin", replace(GOOD, mean_kl=1.0001e-6), 1e-6)
    assert (type(at.verdict), type(beyond.verdict)) == (Passed, Failed)


def test_one_thing_that_must_not_be_there_fails() -> None:
    assert count_gate("weights", "model", "stored", "differing numbers", 0, "numbers").verdict == Passed(
        0, 0, "numbers"
    )
    assert isinstance(count_gate("weights", "model", "stored", "n", 1, "numbers").verdict, Failed)


def test_a_skip_never_makes_a_pass() -> None:
    passed = mean_kl_gate("lowering", "model", "twin", GOOD, 1)
    skipped = skipped_gate("kernels", "model", "twin", "mean KL", "no twin")
    assert skipped.verdict == Skipped("no twin")
    assert outcome([passed.verdict, skipped.verdict]) == "inconclusive"
    assert outcome([]) == "inconclusive"
