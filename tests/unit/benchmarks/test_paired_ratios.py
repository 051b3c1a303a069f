from __future__ import annotations

import numpy as np
import pytest

from benchmarks.paired_ratios import percent, round_ratios, summary


def rounds_of(ratio: float, noise: float, seed: int) -> np.ndarray[tuple[int], np.dtype[np.float64]]:
    return ratio + np.random.default_rng(seed).normal(0, noise, 200)


def test_two_steps_make_a_round() -> None:
    assert round_ratios([1, 3, 2, 2], [2, 2, 3, 5]).tolist() == [1.0, 2.0]


def test_what_drifts_within_a_round_falls_on_both() -> None:
    # Eight steps in the order A B B A A B B A, each a tenth slower than the one before.
    seconds = 1 + 0.1 * np.arange(8)
    assert round_ratios(seconds[[0, 3, 4, 7]], seconds[[1, 2, 5, 6]]).tolist() == pytest.approx([1, 1])


def test_an_odd_number_of_steps_is_refused() -> None:
    with pytest.raises(ValueError, match="reshape"):
        round_ratios([1, 2, 3], [1, 2, 3])


def test_the_median_and_the_quartiles_are_over_all_rounds() -> None:
    found = summary([np.array([1.0, 1.1, 1.2]), np.array([1.3, 1.4, 9.0])])
    assert found.rounds == 6
    assert found.median == pytest.approx(1.25)
    assert found.quartiles == pytest.approx((1.125, 1.375))
    assert found.by_opening == pytest.approx((1.1, 1.4))


def test_an_interval_holds_the_ratio_and_leaves_out_others() -> None:
    found = summary([rounds_of(1.02, 0.05, seed) for seed in range(4)])
    low, high = found.interval
    assert 1.0 < low < 1.02 < high < 1.03


def test_openings_that_differ_widen_the_interval() -> None:
    alike = summary([rounds_of(1.02, 0.01, seed) for seed in range(4)])
    apart = summary([rounds_of(1.0 + 0.01 * seed, 0.01, seed) for seed in range(4)])
    assert alike.interval[1] - alike.interval[0] < 0.004
    assert apart.interval[1] - apart.interval[0] > 0.008


def test_ratios_read_as_what_is_more() -> None:
    assert [percent(ratio) for ratio in (1.013, 1.0, 0.98)] == ["+1.3 %", "+0.0 %", "-2.0 %"]
    sentence = summary([np.array([1.01, 1.02, 1.03])]).sentence()
    assert sentence.startswith("+2.0 % (95 %: +1.0 % to +3.0 %; quartiles +1.5 % to +2.5 %; 3 rounds;")
