"""How much longer one thing takes than another, from times taken in turn: a median with its interval.

Not about what was timed (`benchmarks.decode_in_turn`).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

RESAMPLED = 2000
INTERVAL = (2.5, 97.5)  # percentiles of the resampled medians


@dataclass(frozen=True)
class Ratios:
    """New time over old time, 1 where they are equal.

    median, quartiles: over the rounds of all openings. interval: what the median would be in 95 of 100
    such measurements. by_opening: each opening's own median, since pages and clocks differ between them.
    """

    rounds: int
    median: float
    quartiles: tuple[float, float]
    interval: tuple[float, float]
    by_opening: tuple[float, ...]

    def sentence(self) -> str:
        low, high = (percent(each) for each in self.interval)
        first, third = (percent(each) for each in self.quartiles)
        apart = ", ".join(percent(each) for each in self.by_opening)
        return (
            f"{percent(self.median)} (95 %: {low} to {high}; quartiles {first} to {third}; "
            f"{self.rounds} rounds; by opening {apart})"
        )


def round_ratios(old: ArrayLike, new: ArrayLike) -> NDArray[np.float64]:
    """New over old of each round of two steps, [steps / 2]: what drifts within a round, old and new in the
    order A B B A, falls on both alike.

    old, new: times of the same steps, [steps], of an even number.
    """
    pairs = [np.asarray(times, np.float64).reshape(-1, 2).sum(axis=1) for times in (old, new)]
    ratios: NDArray[np.float64] = pairs[1] / pairs[0]
    return ratios


def summary(openings: Sequence[NDArray[np.float64]], seed: int = 0) -> Ratios:
    """What the rounds of several openings say together. openings: equally many ratios of each.

    The interval is a bootstrap in two stages, openings and then rounds within each: rounds of one
    opening resemble each other, so many of them in one say less than as many in several.
    """
    values = np.stack(openings)  # [openings, rounds]
    random, (count, rounds) = np.random.default_rng(seed), values.shape
    medians = np.empty(RESAMPLED)
    for at in range(RESAMPLED):
        chosen = random.integers(count, size=(count, 1))
        medians[at] = np.median(values[chosen, random.integers(rounds, size=values.shape)])
    first, middle, third = np.percentile(values, (25, 50, 75))
    low, high = np.percentile(medians, INTERVAL)
    return Ratios(
        rounds=values.size,
        median=float(middle),
        quartiles=(float(first), float(third)),
        interval=(float(low), float(high)),
        by_opening=tuple(float(np.median(each)) for each in values),
    )


def percent(ratio: float) -> str:
    """A ratio as what is more or less: 1.013 is +1.3 %."""
    return f"{100 * (ratio - 1):+.1f} %"
