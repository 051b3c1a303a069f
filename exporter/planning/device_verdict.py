"""`DeviceVerdict`: whether a release may be shipped to a device, as a value.

What a plan predicts before the work and what a report says after it are the same value. Not about how
memory and speed are predicted (`exporter.planning.on_device`) or which recipe is chosen
(`exporter.planning.planner`).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from exporter.formats.held_memory import Metric
from runtimes.formats import Accelerator, Format

Fit = Literal["fits", "fits with entitlement", "does not fit"]


@dataclass(frozen=True)
class DecodeSpeed:
    """Tokens per second, predicted: ceiling is bandwidth over the bytes of a token; low and high are what
    of it published measurements reach. sourced: whether the bandwidth is."""

    low: float
    high: float
    ceiling: float
    sourced: bool


@dataclass(frozen=True)
class ArtifactOnDevice:
    """One format on one device. artifact_bytes: on disk. cache_bytes: of its KV cache. memory: component
    ("weights", "KV cache", "activations", ...) to bytes, counted by the profile's metric, as its runtime
    holds them at the peak. decode: None where the profile knows no bandwidth."""

    format: Format
    accelerator: Accelerator
    artifact_bytes: int
    cache_bytes: int
    memory: dict[str, int]
    decode: DecodeSpeed | None

    @property
    def peak_bytes(self) -> int:
        """Predicted peak, bytes."""
        return sum(self.memory.values())


@dataclass(frozen=True)
class DeviceVerdict:
    """profile: its name. budget_bytes: what an app may use, counted by `metric`; with the entitlement where
    there is such a thing. sourced: whether every fact the verdict rests on names a source that was read.
    fit: of the format that fits best. below_fidelity: by what the recipe promises less than the profile
    asks for, or what is made of it keeps less than it promises; None where neither is so. artifacts: one
    for each format, the one that decides first. reason: what decided, a sentence; where nothing fits, with
    the nearest recipe and context that would. No device took part in any of it."""

    profile: str
    title: str
    fit: Fit
    below_fidelity: str | None
    recipe: str
    context: int
    metric: Metric
    budget_bytes: int
    budget_with_entitlement_bytes: int | None
    sourced: bool
    artifacts: tuple[ArtifactOnDevice, ...]
    reason: str

    @property
    def word(self) -> str:
        """The verdict in some words: what fits and is not as faithful as was asked for says so."""
        if self.below_fidelity is None or self.fit == "does not fit":
            return self.fit
        return f"{self.fit}, below the fidelity asked for"
