"""Greedy choices, and choices by chance that a seed repeats and that are as likely as they should be."""

from __future__ import annotations

import numpy as np
import pytest

from exporter.running.sampling import greedy, sampler

LOGITS = np.log(np.array([0.1, 0.6, 0.0001, 0.2999], np.float32))


@pytest.mark.parametrize("temperature", [0.0, 1e-320, 1e-6])
def test_no_temperature_and_next_to_none_take_the_most_likely(temperature: float) -> None:
    choose = sampler(temperature, 3)
    assert {choose(LOGITS) for _ in range(50)} == {greedy(LOGITS)} == {1}


def test_a_seed_repeats_the_choices_and_another_makes_others() -> None:
    flat = np.zeros(1000, np.float32)
    choosers = (sampler(1.0, seed) for seed in (7, 7, 8))
    first, again, other = ([choose(flat) for _ in range(20)] for choose in choosers)
    assert first == again != other


@pytest.mark.parametrize(("temperature", "expected"), [(1.0, 0.6), (0.5, 0.36 / (0.01 + 0.36 + 0.09))])
def test_tokens_come_as_often_as_they_are_likely(temperature: float, expected: float) -> None:
    choose = sampler(temperature, 1)
    drawn = [choose(LOGITS) for _ in range(4000)]
    assert np.mean(np.array(drawn) == 1) == pytest.approx(expected, abs=0.03)


def test_the_highest_temperature_takes_every_token_there_is() -> None:
    choose = sampler(1e300, 1)
    assert {choose(LOGITS) for _ in range(400)} == {0, 1, 2, 3}
