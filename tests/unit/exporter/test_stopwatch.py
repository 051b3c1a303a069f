from __future__ import annotations

from collections.abc import Iterator

import pytest

from exporter.stopwatch import Stopwatch, Timing


def ticking(*times: float) -> Stopwatch:
    ticks: Iterator[float] = iter(times)
    return Stopwatch(lambda: next(ticks))


def test_a_step_counts_its_parts_and_names_them() -> None:
    stopwatch = ticking(0, 1, 3, 4, 100)
    with stopwatch.step("validate"), stopwatch.step("float twin"):
        pass
    assert stopwatch.timings() == (Timing("validate", 4), Timing("validate / float twin", 2))


def test_turns_of_one_step_are_added_up_and_steps_keep_the_order_they_began_in() -> None:
    stopwatch = ticking(0, 1, 1, 2, 2, 5, 100)
    for name in ("open", "lower", "open"):
        with stopwatch.step(name):
            pass
    assert stopwatch.timings() == (Timing("open", 4), Timing("lower", 1))


def test_a_step_under_way_counts_as_far_as_it_is() -> None:
    stopwatch = ticking(0, 2, 5, 6)
    with stopwatch.step("validate"):
        assert stopwatch.timings() == (Timing("validate", 2),)
    assert stopwatch.timings() == (Timing("validate", 5),)


def test_a_step_that_ends_in_an_error_is_timed_too() -> None:
    stopwatch = ticking(0, 7, 100)
    with pytest.raises(ValueError, match="no"), stopwatch.step("lower"):
        raise ValueError("no")
    assert stopwatch.timings() == (Timing("lower", 7),)
