"""Figures as people read them, and headlines that never call a skip a pass."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import get_args

import pytest

from exporter.planning.estimates import CacheSize
from exporter.quantization.store.origins import How
from exporter.validation.report import Gate, Kind
from exporter.validation.verdict import Failed, Passed, Skipped, Verdict, at_least, at_most
from exporter.validation.weight_origins import WeightOrigin
from exporter.views.wording import (
    KINDS,
    MEANINGS,
    bound,
    cache_words,
    headline,
    number,
    per_second,
    percent,
    plus_minus,
    quantity,
    weight_sentences,
)
from tests.golden.reports import passing


@pytest.mark.parametrize(
    ("how", "sentence"),
    [
        ("taken over", "1,204 matrices taken over unchanged from X, as int8-g32."),
        ("requantised", "1,204 matrices requantised from X to int8-g32."),
        ("quantised", "1,204 matrices quantised from X to int8-g32."),
        ("dequantised", "1,204 matrices dequantised from X to int8-g32."),
        ("kept as floats", "1,204 matrices stored as int8-g32, from X."),
    ],
)
def test_every_way_a_weight_came_to_be_has_its_sentence(how: How, sentence: str) -> None:
    report = replace(passing(), weights=(WeightOrigin(how, "X", "int8-g32", 1204, None),))
    assert weight_sentences(report) == (sentence,)


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (0.0, "0"),
        (1536, "1,536"),
        (0.00421234, "0.004212"),
        (0.000421234, "0.0004212"),
        (0.0000421234, "4.21e-5"),
        (3e-10, "3e-10"),
        (-2.5, "-2.5"),
        (123456.7, "123,457"),
        (math.nan, "not a number"),
        (math.inf, "infinite"),
    ],
)
def test_a_number_is_short_and_exact_enough(value: float, text: str) -> None:
    assert number(value) == text


def test_nothing_short_of_everything_is_100_per_cent() -> None:
    assert percent(1.0) == "100.00 %"
    assert percent(0.999999) == "99.99 %"
    assert percent(0.9702) == "97.02 %"


def test_a_small_share_is_not_rounded_down_to_nought() -> None:
    assert percent(0.0) == "0.00 %"
    assert percent(4.36e-4) == "0.044 %"
    assert percent(3.6e-5) == "0.0036 %"
    assert percent(2e-9) == "< 0.0001 %"


def test_units_are_written_as_people_read_them() -> None:
    assert quantity(0.96, "share") == "96.00 %"
    assert quantity(278_123_456, "bytes") == "278 MB"
    assert quantity(0.01, "nats") == "0.01 nats"
    assert quantity(3, "") == "3"
    assert quantity(math.nan, "nats") == "not a number"
    assert plus_minus(1.004, 0.00046) == "1.004 ± 0.0005"
    assert plus_minus(1, 5e-6) == "1 ± 5e-6"
    assert per_second(378_912.4) == "379,000"
    assert per_second(38.04) == "38"


@pytest.mark.parametrize(
    ("verdict", "text"),
    [
        (at_most(0.004, 0.01, "nats"), "≤ 0.01 nats"),
        (at_most(0.04, 0.01, "nats"), "≤ 0.01 nats"),
        (at_least(0.97, 0.96, "share"), "≥ 96.00 %"),
        (at_least(0.5, 0.96, "share"), "≥ 96.00 %"),
        (at_most(0, 0, ""), "0"),
        (at_most(math.nan, 0.01, "nats"), "0.01 nats"),
    ],
)
def test_a_limit_shows_its_direction_where_the_verdict_tells_it(verdict: Verdict, text: str) -> None:
    assert isinstance(verdict, Passed | Failed)
    assert bound(verdict) == text


def test_every_kind_has_a_meaning_and_a_place() -> None:
    assert set(KINDS) == set(MEANINGS) == set(get_args(Kind))


@pytest.mark.parametrize(
    ("verdicts", "text"),
    [
        ([], "Nothing was checked, so nothing is known."),
        ([at_most(1, 2, "")], "The only gate holds."),
        ([at_most(1, 2, "")] * 2, "All 2 gates hold."),
        ([at_most(3, 2, ""), at_most(1, 2, "")], "1 of 2 gates does not hold."),
        ([at_most(3, 2, "")] * 2 + [Skipped("x")], "2 of 3 gates do not hold. 1 could not be checked."),
        ([at_most(1, 2, ""), Skipped("x")], "1 of 2 gates could not be checked, which is not a pass."),
    ],
)
def test_the_headline_counts(verdicts: list[Verdict], text: str) -> None:
    gates = tuple(Gate("weights", None, "s", "t", verdict) for verdict in verdicts)
    assert headline(replace(passing(), gates=gates)) == text


@pytest.mark.parametrize(
    ("cache", "words"),
    [
        (None, "not known"),
        (CacheSize(14_155_776, 0), "14 MB"),
        (CacheSize(75_497_472, 47_185_920), "75 MB, 47 MB of it outside sliding windows"),
    ],
)
def test_a_cache_is_given_with_what_of_it_is_for_nothing(cache: CacheSize | None, words: str) -> None:
    assert cache_words(cache) == words
