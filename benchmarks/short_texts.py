"""How often limits on quality hold a release back by chance, on texts of few tokens and on whole ones.

python -m benchmarks.short_texts

By `limit_of_few`, for a release whose true figures are at its limits, and for some that are better and
worse. Positions are drawn apart from each other: whether the likeliest token is the original's with the
probability that top-1 means, divergence lognormally, with the deviation that gates assume. Not about what a
recipe costs (`benchmarks.quality`).
"""

from __future__ import annotations

import math
import sys
from collections.abc import Iterator
from functools import cache

import numpy as np

from exporter.planning.recipe import QualityLimit, load_recipe
from exporter.validation.gates import SETTLED_ON, SPREAD, limit_of_few

POSITIONS = (16, 31, 63, 127, 255, 511, 767, 1023, SETTLED_ON, 1399)
DRAWS = 20_000  # texts of each length
OFF = (0.5, 0.75, 1.0, 1.25, 1.5, 2.0)  # of the limit: mean KL, and the share of other tokens
SEED = 20261127


@cache
def mean_divergences(positions: int, draws: int) -> np.ndarray[tuple[int], np.dtype[np.float64]]:
    """Of so many texts, where the true mean is 1."""
    random = np.random.default_rng((SEED, positions))
    sigma = math.sqrt(math.log(1 + SPREAD**2))
    found = np.empty(draws)
    for text in range(draws):
        found[text] = random.lognormal(-(sigma**2) / 2, sigma, positions).mean()
    return found


def held_back(limit: QualityLimit, positions: int, off: float, draws: int = DRAWS) -> tuple[float, float]:
    """Shares of texts on which a release that is `off` times its limits is beyond that of top-1, and that
    of mean KL."""
    random = np.random.default_rng((SEED, positions))
    at = limit_of_few(limit, positions)
    others = random.binomial(positions, min(1.0, off * (1 - limit.top1)), draws)
    beyond_top1 = np.mean(1 - others / positions < at.top1)
    beyond_kl = np.mean(off * limit.mean_kl * mean_divergences(positions, draws) > at.mean_kl)
    return float(beyond_top1), float(beyond_kl)


def table(recipe: str) -> Iterator[str]:
    """Markdown: a row for each length of text, a column for each release."""
    limit = load_recipe(recipe).quantisation
    asked = f"top-1 at least {limit.top1:g}, mean KL at most {limit.mean_kl:g}"
    yield f"`{recipe}`, {asked}; held back by top-1, by mean KL:"
    yield ""
    yield f"| positions | limits there | {' | '.join(f'{off:g} times as far' for off in OFF)} |"
    yield "|---" * (2 + len(OFF)) + "|"
    for positions in POSITIONS:
        at = limit_of_few(limit, positions)
        shares = (held_back(limit, positions, off) for off in OFF)
        cells = (f"{100 * top1:.1f}, {100 * kl:.1f} %" for top1, kl in shares)
        yield f"| {positions:,} | {at.top1:.3f}, {at.mean_kl:.3g} | {' | '.join(cells)} |"


def main() -> int:
    for recipe in ("int8", "int4"):
        print("\n".join(table(recipe)), end="\n\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
