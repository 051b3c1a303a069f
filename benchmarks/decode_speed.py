"""The planner's interval of decode speed against published measurements, and how far off each is.

    python -m benchmarks.decode_speed

Rows are in published_speeds.toml; bandwidths are the device profiles'. An interval is fitted for each kind
of processor at once, from the tenth to the ninetieth percentile of the share of the bandwidth its rows
reach, and never to one row: how far those outside it are off is printed. Needs no model and no network. Not
about speeds of this machine (`benchmarks.speed`).
"""

from __future__ import annotations

import tomllib
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from exporter.planning.decode_speed import EFFICIENCY, decode_speed
from exporter.planning.profiles import load_profile
from runtimes.formats import Accelerator
from runtimes.records import from_plain

ROWS = Path(__file__).with_name("published_speeds.toml")
ROUNDED = 20  # parts of 1 that an interval's ends are rounded to


@dataclass(frozen=True)
class PublishedSpeed:
    """gigabytes: of weights that a token reads."""

    device: str
    accelerator: Accelerator
    model: str
    runtime: str
    gigabytes: float
    tokens_per_second: float
    source: str

    @property
    def efficiency(self) -> float:
        """The share of the device's bandwidth that it comes to."""
        bandwidth = load_profile(self.device).bandwidth
        assert bandwidth is not None
        return self.tokens_per_second * self.gigabytes / bandwidth.gigabytes_per_second

    def off(self) -> float:
        """By what share it lies outside the interval; 0 within it."""
        bandwidth = load_profile(self.device).bandwidth
        found = decode_speed(bandwidth, self.accelerator, int(self.gigabytes * 1e9), 0)
        assert found is not None
        return self.tokens_per_second / min(max(self.tokens_per_second, found.low), found.high) - 1


def published() -> tuple[PublishedSpeed, ...]:
    """Every row there is."""
    raw = tomllib.loads(ROWS.read_text(encoding="utf-8"))
    return tuple(from_plain(PublishedSpeed, row) for row in raw["row"])


def fitted(accelerator: Accelerator) -> tuple[float, float]:
    """The interval of all rows of a kind of processor."""
    reached = [row.efficiency for row in published() if row.accelerator == accelerator]
    low, high = np.percentile(reached, (10, 90))
    return round(low * ROUNDED) / ROUNDED, round(high * ROUNDED) / ROUNDED


def main() -> None:
    print("| device | on | model | by | tokens/s | of the bandwidth | interval | off | source |")
    print("|---|---|---|---|---|---|---|---|---|")
    for row in published():
        low, high = EFFICIENCY[row.accelerator]
        off = row.off()
        print(
            f"| {row.device} | {row.accelerator} | {row.model} | {row.runtime} | {row.tokens_per_second:g} "
            f"| {row.efficiency:.0%} | {low:.0%} to {high:.0%} | {f'{off:+.0%}' if off else 'within'} "
            f"| {row.source} |"
        )


if __name__ == "__main__":
    main()
