"""The plots of a report: what each shows of it, in words, with the legend that stands beside it.

Not about drawing (`exporter.views.plots`).
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from exporter.validation.report import Kind, ValidationReport
from exporter.views.detail_tables import by_kind
from exporter.views.plots.canvas import SERIES
from exporter.views.plots.kl_plots import kl_along, kl_distribution
from exporter.views.plots.memory_plot import components_of, memory_by_component
from exporter.views.plots.weight_plot import parts_of_layers, weight_errors_by_layer
from exporter.views.short_names import ShortNames

DRAWN: tuple[Kind, ...] = (
    "quantisation",
    "end to end",
)  # what is lost; the others are hardly to be seen beside


BEHIND = " Where lines lie on each other, each shows through the gaps of the next."


@dataclass(frozen=True)
class Plot:
    """svg: an element. legend: the number of a colour and what has it."""

    title: str
    sentence: str
    svg: str
    legend: tuple[tuple[int, str], ...]


def plots(report: ValidationReport, names: ShortNames) -> Iterator[Plot]:
    """Those there are figures for."""
    series = [
        (f"{name}, {names.artifact(each.artifact)}" if each.artifact else name, each.kl)
        for name, each in by_kind(report, names)
        if each.kind in DRAWN and each.kl.means and each.kl.counts
    ]
    if series:
        shown = series[: len(SERIES)]
        more = f" {len(series) - len(shown)} more are in the table." if len(series) > len(shown) else ""
        behind = BEHIND if len(shown) > 1 else ""
        legend = _numbered(tuple(name for name, _ in shown))
        spreads = [spread for _, spread in shown]
        yield Plot(
            "KL along the text",
            f"Every position was compared; a rise to the right would be drift.{behind}{more}",
            kl_along(spreads),
            legend,
        )
        yield Plot(
            "KL as a distribution",
            f"Further left is closer; what runs out to the right are few positions, far off.{behind}{more}",
            kl_distribution(spreads),
            legend,
        )
    if parts := parts_of_layers(report.weight_errors):
        yield Plot(
            "Quantisation error by layer",
            "How far the stored matrices are from those they were quantised from. The axis does not begin "
            "at nought.",
            weight_errors_by_layer(report.weight_errors),
            _numbered(parts),
        )
    if any(device.artifacts for device in report.devices):
        yield Plot(
            "Memory by component",
            "Predicted peaks, and as a thin line by how much more they may be. The upright line is what an "
            f"app may use{_entitled(report)}.",
            memory_by_component(report.devices),
            _numbered(components_of(report.devices)),
        )


def _entitled(report: ValidationReport) -> str:
    """What a dotted line is, where there is one."""
    if all(each.budget_with_entitlement_bytes is None for each in report.devices):
        return ""
    return ", the dotted one what it may use if Apple grants it the increased-memory-limit entitlement"


def _numbered(labels: tuple[str, ...]) -> tuple[tuple[int, str], ...]:
    return tuple((at % len(SERIES) + 1, label) for at, label in enumerate(labels))
