"""`MeasuredQuality`: what a release's card says of quality, in words and as figures.

Not about measuring; reports make it (`exporter.views.card_quality`).
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class MeasuredFigure:
    """metric: in plain letters ("mean_kl_divergence"). name: the same for people. artifact: its path."""

    artifact: str
    metric: str
    name: str
    value: float


@dataclass(frozen=True)
class MeasuredQuality:
    """section: Markdown, without a heading. text: what was compared on, by name. figures: all finite.

    languages: codes of those quality was compared in, one by one.
    """

    section: str
    text: str
    figures: tuple[MeasuredFigure, ...]
    languages: tuple[str, ...]
