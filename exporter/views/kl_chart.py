"""How KL divergence is spread over the positions of a comparison, as one inline SVG bar.

The axis is logarithmic and shared by all bars of a page. Positions are percentages and there is no
viewBox, so a bar fills any width while its text keeps its size. Not about the figures' meaning.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass

from exporter.evaluation.statistics import Statistics
from exporter.views.markup import Html, join, tag
from exporter.views.wording import number

FLOOR = 1e-10
"""KL below this is drawn here: float64 sums over a vocabulary mean nothing below."""

_EDGE = 3.0  # per cent kept free on both sides, for labels
_MOST_LABELS = 5  # that a phone has room for
_SUPERSCRIPTS = str.maketrans("-0123456789", "⁻⁰¹²³⁴⁵⁶⁷⁸⁹")


@dataclass(frozen=True)
class Axis:
    """From 10^low to 10^high."""

    low: int
    high: int

    def place(self, value: float) -> float:
        """Per cent from the left."""
        exponent = math.log10(max(value, FLOOR))
        share = (exponent - self.low) / (self.high - self.low)
        return _EDGE + (100 - 2 * _EDGE) * min(1.0, max(0.0, share))


def axis_for(statistics: Iterable[Statistics], limits: Iterable[float]) -> Axis:
    """The decades that hold every finite figure; at least two."""
    figures = [value for each in statistics for value in _spread(each)] + list(limits)
    exponents = [math.log10(max(value, FLOOR)) for value in figures if math.isfinite(value)]
    if not exponents:
        return Axis(-6, 0)
    low = math.floor(min(exponents))
    return Axis(low, max(math.ceil(max(exponents)), low + 2))


def kl_bar(statistics: Statistics, limit: float | None, axis: Axis) -> Html:
    """The bar of one comparison. limit: what its mean KL was held against, if anything."""
    spread = _spread(statistics)
    if not all(math.isfinite(value) for value in spread):
        return tag("p", "The divergence is not finite: nothing to draw.", class_="bad")
    median, kl_90, kl_99, kl_999, most, mean = (axis.place(value) for value in spread)
    spoken = (
        f"KL divergence: median {number(statistics.median_kl)}, mean {number(statistics.mean_kl)}, "
        f"99.9 % below {number(statistics.kl_999)}, at most {number(statistics.max_kl)}"
    )
    return tag(
        "svg",
        _grid(axis),
        _stretch(axis.place(0.0), median, 27, 2, 0.45),
        _stretch(median, kl_90, 20, 16, 1.0),
        _stretch(kl_90, kl_99, 20, 16, 0.6),
        _stretch(kl_99, kl_999, 20, 16, 0.3),
        _stretch(kl_999, most, 27, 2, 0.45),
        _upright(most, 22, 34, "end"),
        None if limit is None else _upright(axis.place(limit), 12, 44, "limit"),
        tag("circle", cx=_percent(mean), cy=28, r=5, class_="mean"),
        role="img",
        aria_label=spoken,
        class_="kl",
        width="100%",
        height=62,
    )


def legend() -> Html:
    """What the parts of a bar are."""
    items = (
        ("swatch s90", "half of the positions to 90 %"),
        ("swatch s99", "to 99 %"),
        ("swatch s999", "to 99.9 %"),
        ("swatch line", "the rest, to the largest"),
        ("swatch dot", "mean"),
        ("swatch limit", "limit on the mean"),
    )
    return tag(
        "p", (join(tag("span", class_=name), f" {words} ") for name, words in items), class_="legend"
    )


def _spread(found: Statistics) -> tuple[float, ...]:
    return (found.median_kl, found.kl_90, found.kl_99, found.kl_999, found.max_kl, found.mean_kl)


def _grid(axis: Axis) -> Html:
    """A line per decade, and as many labels below as a phone has room for."""
    decades = range(axis.low, axis.high + 1)
    step = math.ceil(len(decades) / _MOST_LABELS)
    lines = [_upright(axis.place(10.0**decade), 12, 44, "grid") for decade in decades]
    labels = [
        tag(
            "text",
            f"10{str(decade).translate(_SUPERSCRIPTS)}",
            x=_percent(axis.place(10.0**decade)),
            y=58,
            text_anchor="middle",
        )
        for decade in decades
        if (decade - axis.low) % step == 0
    ]
    return join(lines, labels)


def _stretch(start: float, stop: float, top: int, height: int, opacity: float) -> Html:
    return tag(
        "rect",
        x=_percent(start),
        y=top,
        width=_percent(max(0.0, stop - start)),
        height=height,
        opacity=opacity,
        class_="spread",
    )


def _upright(at: float, top: int, bottom: int, kind: str) -> Html:
    return tag("line", x1=_percent(at), x2=_percent(at), y1=top, y2=bottom, class_=kind)


def _percent(value: float) -> str:
    return f"{value:.2f}%"
