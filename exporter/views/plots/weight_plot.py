"""Quantisation error of the weights by layer, a line for each part of a layer.

Not about measuring it (`exporter.validation.weight_errors`).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from exporter.validation.weight_errors import WeightError
from exporter.views.plots.canvas import SERIES, drawn

if TYPE_CHECKING:
    from matplotlib.axes import Axes

AROUND = 0.12  # of what is shown, above and below: parts differ by little, far from nought


def parts_of_layers(errors: Sequence[WeightError]) -> tuple[str, ...]:
    """What gets a line, in the order of the colours."""
    return tuple(dict.fromkeys(each.part for each in errors if each.layer is not None))


def weight_errors_by_layer(errors: Sequence[WeightError]) -> str:
    """Per cent of each matrix's own size, by its layer."""

    def draw(axes: Axes) -> None:
        from matplotlib.ticker import MaxNLocator

        for at, part in enumerate(parts_of_layers(errors)):
            of_part = [(each.layer, 100 * each.relative) for each in errors if each.part == part]
            layers = [layer for layer, _ in of_part if layer is not None]
            style = "-" if at < len(SERIES) else "--"
            axes.plot(
                layers,
                [error for layer, error in of_part if layer is not None],
                color=SERIES[at % len(SERIES)],
                linestyle=style,
                marker="o",
                markersize=2.5,
            )
        axes.set_xlabel("layer")
        axes.set_ylabel("error, % of the matrix")
        axes.margins(y=AROUND)
        axes.xaxis.set_major_locator(MaxNLocator(nbins=8, integer=True))
        axes.grid(axis="y")

    return drawn("weight-errors", draw)
