"""KL divergence of a few comparisons: along the text, and as a distribution. Both on logarithmic axes.

Not about which comparisons (`exporter.views.report_plots`).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING

from exporter.evaluation.kl_spread import LOWEST, KlSpread
from exporter.views.plots.canvas import SERIES, decade, drawn

if TYPE_CHECKING:
    from matplotlib.axes import Axes


def kl_along(spreads: Sequence[KlSpread]) -> str:
    """Mean KL of neighbouring positions, in the order of the text."""

    def draw(axes: Axes) -> None:
        for colour, spread in zip(SERIES, spreads, strict=False):
            at = [(place + 0.5) * spread.step for place in range(len(spread.means))]
            axes.plot(at, [_exponent(each) for each in spread.means], color=colour)
        axes.set_xlabel("position in the text, tokens")
        axes.set_ylabel("mean KL, nats")
        _decades(axes, "y")
        axes.grid(axis="y")

    return drawn("kl-along", draw)


def kl_distribution(spreads: Sequence[KlSpread]) -> str:
    """The share of positions in each bin of KL."""

    def draw(axes: Axes) -> None:
        for colour, spread in zip(SERIES, spreads, strict=False):
            total = sum(spread.counts) + spread.not_finite
            edges = [
                spread.lowest_exponent + at / spread.per_decade for at in range(len(spread.counts) + 1)
            ]
            shares = [100 * count / total for count in spread.counts]
            if shares:
                axes.stairs(shares, edges, color=colour, linewidth=1.4)
        axes.set_xlabel("KL, nats")
        axes.set_ylabel("% of positions")
        axes.set_ylim(bottom=0)
        _decades(axes, "x")
        axes.grid(axis="x")

    return drawn("kl-distribution", draw)


def _decades(axes: Axes, which: str) -> None:
    """Whole decades as ticks, of exponents, and both ends on one: a phone has room for six."""
    from matplotlib.ticker import FuncFormatter, MaxNLocator

    axis = axes.yaxis if which == "y" else axes.xaxis
    low, high = axis.get_view_interval()
    if which == "y":
        axes.set_ylim(math.floor(low), max(math.ceil(high), math.floor(low) + 1))
    axis.set_major_locator(MaxNLocator(nbins=6, integer=True))
    axis.set_major_formatter(FuncFormatter(decade))


def _exponent(kl: float) -> float:
    if math.isnan(kl):
        return math.nan
    return math.log10(kl) if 10.0**LOWEST < kl < math.inf else float(LOWEST) if kl < 1 else math.nan
