"""`CoreMlTower`: what image towers and audio encoders have in common, exact in half precision.

As in the decoder's dialect, norms divide by a row's largest magnitude before they square anything, and
matrices are graph inputs in whose place `binding` puts the checkpoint's bytes. Not about what only one kind
of tower does (`vision_dialect`, `audio_dialect`).
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Self

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from exporter.lowering.coreml.graph_nodes import placeholder_linear
from exporter.models.vision.spec import BOUNDS

HALF_MAX = 65504.0


@dataclass(frozen=True)
class TowerConstants:
    """Tensors that stay in the graph as constants.

    vectors: by canonical name. roots: a norm's eps to its square root.
    """

    vectors: Mapping[str, Tensor]
    roots: Mapping[float, Tensor]

    @classmethod
    def of(cls, vectors: Mapping[str, NDArray[np.float32]], every_eps: Iterable[float]) -> Self:
        return cls(
            {name: torch.from_numpy(vector.copy()) for name, vector in vectors.items()},
            {eps: torch.tensor(math.sqrt(eps)) for eps in every_eps},
        )


@dataclass
class CoreMlTower:
    """For one traced forward pass. matrices: by name, graph inputs."""

    matrices: Mapping[str, Tensor]
    constants: TowerConstants

    def project(self, x: Tensor, weight: str, bias: str | None = None, clip: str | None = None) -> Tensor:
        lowest, highest, least, most = (
            (None,) * len(BOUNDS) if clip is None else (self._bound(f"{clip}.{each}") for each in BOUNDS)
        )
        y = placeholder_linear(_clamped(x, lowest, highest), self.matrices[weight])
        if bias is not None:
            y = y + self.vector(bias)
        return _clamped(y, least, most)

    def norm(self, x: Tensor, gain: str | None, eps: float, adds_one: bool = False) -> Tensor:
        small, floor = self._shrunk(x, eps)
        y = small * torch.rsqrt(torch.mean(small * small, dim=-1, keepdim=True) + floor * floor)
        return y if gain is None else y * (self.vector(gain) + (1.0 if adds_one else 0.0))

    def centred(self, x: Tensor, eps: float) -> Tensor:
        """LayerNorm over the last axis, before gain and bias."""
        small, floor = self._shrunk(x, eps)
        centred = small - torch.mean(small, dim=-1, keepdim=True)
        return centred * torch.rsqrt(torch.mean(centred * centred, dim=-1, keepdim=True) + floor * floor)

    def vector(self, name: str) -> Tensor:
        return self.constants.vectors[name]

    def _shrunk(self, x: Tensor, eps: float) -> tuple[Tensor, Tensor]:
        """x by its rows' largest magnitude, and the root of eps by it: see `CoreMlDialect.norm`."""
        root = self.constants.roots[eps]
        peak = torch.maximum(torch.amax(torch.abs(x), dim=-1, keepdim=True), root)
        return x / peak, root / peak

    def _bound(self, name: str) -> float:
        return float(self.vector(name))


def _clamped(x: Tensor, least: float | None, most: float | None) -> Tensor:
    """x between bounds; none where half precision holds nothing beyond them."""
    if least is None or most is None or (least <= -HALF_MAX and most >= HALF_MAX):
        return x
    return x.clamp(max(least, -HALF_MAX), min(most, HALF_MAX))
