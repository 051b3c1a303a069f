"""`DeviceVerdict`: whether a release may be shipped to a device, as a value.

What a plan predicts before the work and what a report says after it are the same value. Not about how
memory and speed are predicted (`exporter.planning.on_device`) or which recipe is chosen
(`exporter.planning.planner`).
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal, get_args

from exporter.formats.held_memory import Metric
from exporter.planning.prediction_error import PredictionError
from runtimes.formats import Accelerator, Format

Fit = Literal["fits", "fits with entitlement", "may not fit", "does not fit"]
"""fits: what is predicted and the prediction's own error. may not fit: what is predicted alone."""
FITS: tuple[Fit, ...] = get_args(Fit)  # the best first


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
    """One format on one device. instead_of_gpu: how it runs there ("by WebAssembly") where the GPU that the
    profile means it for cannot take one of its matrices; None where it runs as it is meant to.
    artifact_bytes: on disk. cache_bytes: of its KV cache. memory: component
    ("weights", "KV cache", "activations", ...) to bytes, counted by the profile's metric, as its runtime
    holds them at the peak. memory_error: by what share that may be too little. decode: None where the
    profile knows no bandwidth."""

    format: Format
    accelerator: Accelerator
    instead_of_gpu: str | None
    artifact_bytes: int
    cache_bytes: int
    memory: dict[str, int]
    memory_error: PredictionError
    decode: DecodeSpeed | None

    @property
    def peak_bytes(self) -> int:
        """Predicted peak, bytes."""
        return sum(self.memory.values())

    @property
    def most_bytes(self) -> int:
        """The same with the error of predicting it."""
        return math.ceil(self.peak_bytes * (1 + self.memory_error.share))

    @property
    def where(self) -> str:
        """ "litertlm on the GPU", "onnx-web by WebAssembly"."""
        return f"{self.format} {self.instead_of_gpu or f'on the {self.accelerator}'}"


@dataclass(frozen=True)
class DeviceVerdict:
    """profile: its name. budget_bytes: what an app may use, counted by `metric`; with the entitlement where
    there is such a thing. sourced: whether every fact the verdict rests on names a source that was read.
    fit: of the format that decides: the worst of those the profile requires; where none of them is made,
    the best. below_fidelity: by what the recipe promises less than the profile asks for, or what is made of
    it keeps less than it promises; None where neither is so. artifacts: one for each format, the one that
    decides first. reason: what decided, a sentence; where nothing fits, with the nearest recipe and context
    that would. No device took part in any of it."""

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
        """The verdict in some words: what fits and is not run as it is meant to, or is not as faithful as
        was asked for, says so."""
        if self.fit == "does not fit":
            return self.fit
        instead = next((each.instead_of_gpu for each in self.artifacts[:1]), None)
        said = self.fit if instead is None else f"{self.fit} {instead}, not on its GPU"
        return said if self.below_fidelity is None else f"{said}, below the fidelity asked for"
