"""Predicted peak memory of each format on each device, by component, against what an app may use.

Not about predicting it (`exporter.planning`).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from exporter.planning.device_verdict import ArtifactOnDevice, DeviceVerdict
from exporter.views.plots.canvas import BAD, SERIES, drawn
from exporter.views.wording import one_line

if TYPE_CHECKING:
    from matplotlib.axes import Axes

REST = "the rest"
_LABEL = 26  # characters a phone has room for
_BAR, _AROUND = 0.34, 0.75  # inches


def components_of(devices: Sequence[DeviceVerdict]) -> tuple[str, ...]:
    """What gets a colour: every component that takes something on any device, and where there are more
    than colours, those that take most and `REST`."""
    most: dict[str, int] = {}
    for name, amount in (
        held for device in devices for each in device.artifacts for held in each.memory.items() if held[1]
    ):
        most[name] = max(amount, most.get(name, 0))
    if len(most) <= len(SERIES):
        return tuple(most)
    kept = sorted(most, key=lambda name: -most[name])[: len(SERIES) - 1]
    return (*(name for name in most if name in kept), REST)


def _taken(artifact: ArtifactOnDevice, component: str, shown: Sequence[str]) -> int:
    if component == REST:
        return sum(amount for name, amount in artifact.memory.items() if name not in shown)
    return artifact.memory.get(component, 0)


def memory_by_component(devices: Sequence[DeviceVerdict]) -> str:
    """A bar for each format on each device, longer by a thin line for the error of predicting it, its
    budget upright in it, that with the entitlement dotted."""
    bars = [(device, artifact) for device in devices for artifact in device.artifacts]
    labels = [_cut(f"{device.profile}, {artifact.format}") for device, artifact in bars]

    def draw(axes: Axes) -> None:
        left = [0.0] * len(bars)
        shown = components_of(devices)
        for colour, component in zip(SERIES, shown, strict=False):
            taken = [_taken(artifact, component, shown) / 1e9 for _, artifact in bars]
            axes.barh(range(len(bars)), taken, 0.55, left, color=colour)
            left = [begin + each for begin, each in zip(left, taken, strict=True)]
        for at, (device, artifact) in enumerate(bars):
            axes.plot([left[at], artifact.most_bytes / 1e9], [at, at], color=BAD, linewidth=1)
            entitled = device.budget_with_entitlement_bytes
            for budget, style in ((device.budget_bytes, "-"), (entitled, ":")):
                if budget is not None:
                    upright = [at - 0.42, at + 0.42]
                    axes.plot([budget / 1e9] * 2, upright, color=BAD, linewidth=2, linestyle=style)
        axes.set_yticks(range(len(bars)), labels)
        axes.invert_yaxis()
        axes.set_xlim(left=0)
        axes.set_xlabel("GB at the peak")
        axes.grid(axis="x")

    return drawn("memory", draw, _AROUND + _BAR * max(1, len(bars)))


def _cut(label: str) -> str:
    label = one_line(label)
    return label if len(label) <= _LABEL else f"{label[: _LABEL - 1]}…"
