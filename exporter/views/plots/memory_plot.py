"""Predicted peak memory of each format on each device, by component, against what an app may use.

Not about predicting it (`exporter.planning`).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from exporter.planning.device_verdict import DeviceVerdict
from exporter.views.plots.canvas import BAD, SERIES, drawn
from exporter.views.wording import one_line

if TYPE_CHECKING:
    from matplotlib.axes import Axes

_LABEL = 26  # characters a phone has room for
_BAR, _AROUND = 0.34, 0.75  # inches


def components_of(devices: Sequence[DeviceVerdict]) -> tuple[str, ...]:
    """What gets a colour: every component that takes something on any device."""
    held = (each.memory.items() for device in devices for each in device.artifacts)
    return tuple(dict.fromkeys(name for items in held for name, amount in items if amount))


def memory_by_component(devices: Sequence[DeviceVerdict]) -> str:
    """A bar for each format on each device, its budget upright in it, that with the entitlement dotted."""
    bars = [(device, artifact) for device in devices for artifact in device.artifacts]
    labels = [_cut(f"{device.profile}, {artifact.format}") for device, artifact in bars]

    def draw(axes: Axes) -> None:
        left = [0.0] * len(bars)
        for at, component in enumerate(components_of(devices)):
            taken = [artifact.memory.get(component, 0) / 1e9 for _, artifact in bars]
            axes.barh(range(len(bars)), taken, 0.55, left, color=SERIES[at % len(SERIES)])
            left = [begin + each for begin, each in zip(left, taken, strict=True)]
        for at, (device, _) in enumerate(bars):
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
