from __future__ import annotations

import math
from dataclasses import replace

import pytest

from exporter.evaluation.statistics import Statistics
from exporter.planning.recipe import QualityLimit
from exporter.validation.gates import (
    count_gate,
    mean_kl_gate,
    quality_gates,
    skipped_gate,
)
from exporter.validation.verdict import Failed, Passed, Skipped, outcome

GOOD = Statistics(100, 0.005, 0, 0, 0, 0, 0, 0.97, 10, 1, 0, 0)
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
