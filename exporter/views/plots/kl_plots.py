"""KL divergence of a few comparisons: along the text, and as a distribution. Both on logarithmic axes.

Not about which comparisons (`exporter.views.report_plots`).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING

from exporter.evaluation.kl_spread import LOWEST, KlSpread
from exporter.views.plots.canvas import SERIES, decade, drawn, line_styles

if TYPE_CHECKING:
    from matplotlib.axes import Axes

BELOW = 0.05  # of what is shown: no line lies on the axis


def kl_along(spreads: Sequence[KlSpread]) -> str:
    """Mean KL of neighbouring positions, in the order of the text."""

    def draw(axes: Axes) -> None:
        for colour, spread, style in zip(SERIES, spreads, line_styles(len(spreads)), strict=False):
            at = [(place + 0.5) * spread.step for place in range(len(spread.means))]
            axes.plot(at, [_exponent(each) for each in spread.means], color=colour, linestyle=style)
        axes.set_xlabel("position in the text, tokens")
        axes.set_ylabel("mean KL, nats")
        _decades(axes, "y")
        axes.grid(axis="y")

    return drawn("kl-along", draw)


def kl_distribution(spreads: Sequence[KlSpread]) -> str:
    """The share of positions in each bin of KL."""

    def draw(axes: Axes) -> None:
        for colour, spread, style in zip(SERIES, spreads, line_styles(len(spreads)), strict=False):
            total = sum(spread.counts) + spread.not_finite
            edges = [
                spread.lowest_exponent + at / spread.per_decade for at in range(len(spread.counts) + 1)
            ]
            shares = [100 * count / total for count in spread.counts]
            if shares:
                axes.stairs(shares, edges, color=colour, linewidth=1.6, linestyle=style, baseline=None)
        axes.set_xlabel("KL, nats")
        axes.set_ylabel("% of positions")
        axes.set_ylim(bottom=-BELOW * axes.get_ylim()[1])
        _decades(axes, "x")
        axes.grid(axis="x")

    return drawn("kl-distribution", draw)


def _decades(axes: Axes, which: str) -> None:
    """Whole decades as ticks, of exponents, and the upper end on one: a phone has room for six."""
    from matplotlib.ticker import FuncFormatter, MaxNLocator

    axis = axes.yaxis if which == "y" else axes.xaxis
    low, high = axis.get_view_interval()
    if which == "y":
        lowest, highest = math.floor(low), max(math.ceil(high), math.floor(low) + 1)
        axes.set_ylim(lowest - BELOW * (highest - lowest), highest)
    axis.set_major_locator(MaxNLocator(nbins=6, integer=True))
    axis.set_major_formatter(FuncFormatter(decade))


def _exponent(kl: float) -> float:
    if math.isnan(kl):
        return math.nan
    return math.log10(kl) if 10.0**LOWEST < kl < math.inf else float(LOWEST) if kl < 1 else math.nan
