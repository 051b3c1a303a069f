"""`KlSpread`: how KL divergence is spread over a comparison's positions: a histogram, and along the text.

Small enough to stand in a report beside each comparison's figures. Not about the figures themselves
(`statistics`) or about drawing.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

PER_DECADE = 4  # bins of the histogram
LOWEST, HIGHEST = -10, 3  # powers of ten: float64 sums over a vocabulary mean nothing below
MOST_MEANS = 64  # along the text

_EDGES = np.logspace(LOWEST, HIGHEST, (HIGHEST - LOWEST) * PER_DECADE + 1)


@dataclass(frozen=True)
class KlSpread:
    """lowest_exponent: the histogram's first bin begins at ten to the power of it, each of the `per_decade`
    bins of a decade being as wide as the others on a logarithmic axis; what is below is in the first bin.
    counts: positions by bin, empty where no KL is finite. not_finite: positions in no bin.
    step: positions of each of `means`, the last of which may have fewer; means: mean KL along the text,
    empty where not every position was compared."""

    lowest_exponent: float
    per_decade: int
    counts: tuple[int, ...]
    not_finite: int
    step: int
    means: tuple[float, ...]


def spread_of(kl: NDArray[np.float64], along: bool) -> KlSpread:
    """kl: [positions], in the text's order. along: they are neighbours, all of the text."""
    finite = kl[np.isfinite(kl)]
    counted, _ = np.histogram(np.clip(finite, _EDGES[0], _EDGES[-1]), _EDGES)
    held = np.flatnonzero(counted)
    first, last = (int(held[0]), int(held[-1])) if len(held) else (0, -1)
    step = math.ceil(len(kl) / MOST_MEANS)
    starts = range(0, len(kl), step) if along else ()
    return KlSpread(
        lowest_exponent=LOWEST + first / PER_DECADE,
        per_decade=PER_DECADE,
        counts=tuple(counted[first : last + 1].tolist()),
        not_finite=len(kl) - len(finite),
        step=step,
        means=tuple(float(kl[start : start + step].mean()) for start in starts),
    )
