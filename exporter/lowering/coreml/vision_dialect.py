"""`CoreMlVision`: image towers as operations Core ML keeps exact in half precision.

As in the decoder's dialect, norms divide by a row's largest magnitude before they square anything, and
matrices are graph inputs in whose place `binding` puts the checkpoint's bytes. A picture enters as it is:
its squares are cut by reshapes of rank 5, the most Core ML has. Of Gemma 4's pictures every patch is one,
with no row of padding, since lengths are free, and the patches of each square follow each other: pooling
is a mean of rows that are neighbours. Places index tables, nothing is computed with them.
Not about tracing (`vision_conversion`).
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field

import torch
import torch.nn.functional as F
from torch import Tensor

from exporter.lowering.coreml.graph_nodes import placeholder_attention, placeholder_linear
from exporter.models.vision.spec import BOUNDS, CHANNELS

HALF_MAX = 65504.0


@dataclass(frozen=True)
class TowerConstants:
    """Tensors that stay in the graph as constants.

    vectors: by canonical name. roots: a norm's eps to its square root. turns: cosines and sines by place,
    [places, head_dim / 4], where patches are turned.
    """

    vectors: Mapping[str, Tensor]
    roots: Mapping[float, Tensor]
    turns: tuple[Tensor, Tensor] | None


def rotations(places: int, head_dim: int, theta: float) -> tuple[Tensor, Tensor]:
    """Cosines and sines of places along one axis, [places, head_dim / 4]: half a head is one axis', turned
    in its own halves."""
    half = head_dim // 2
    frequencies = theta ** (-torch.arange(0, half, 2, dtype=torch.float32) / half)
    angles = torch.arange(places)[:, None].float() * frequencies
    return angles.cos(), angles.sin()


@dataclass
class CoreMlVision:
    """Satisfies `VisionDialect` for one traced forward pass. Positions are [1, patches, 2] int32.

    matrices: by name, graph inputs.
    """

    matrices: Mapping[str, Tensor]
    constants: TowerConstants
    _turns: list[Tensor] = field(default_factory=list)

    def squares(self, pixels: Tensor, weight: str, bias: str, patch: int) -> Tensor:
        side = pixels.shape[-1] // patch
        x = pixels.reshape(CHANNELS, side, patch, side, patch).permute(1, 3, 0, 2, 4)
        return self.project(x.reshape(1, side * side, CHANNELS * patch * patch), weight, bias)

    def project(self, x: Tensor, weight: str, bias: str | None = None, clip: str | None = None) -> Tensor:
        lowest, highest, least, most = (
            (None,) * len(BOUNDS) if clip is None else (self._bound(f"{clip}.{each}") for each in BOUNDS)
        )
        y = placeholder_linear(_clamped(x, lowest, highest), self.matrices[weight])
        if bias is not None:
            y = y + self.vector(bias)
        return _clamped(y, least, most)

    def layer_norm(self, x: Tensor, name: str, eps: float) -> Tensor:
        small, floor = self._shrunk(x, eps)
        centred = small - torch.mean(small, dim=-1, keepdim=True)
        y = centred * torch.rsqrt(torch.mean(centred * centred, dim=-1, keepdim=True) + floor * floor)
        return y * self.vector(f"{name}.weight") + self.vector(f"{name}.bias")

    def norm(self, x: Tensor, gain: str | None, eps: float, adds_one: bool = False) -> Tensor:
        small, floor = self._shrunk(x, eps)
        y = small * torch.rsqrt(torch.mean(small * small, dim=-1, keepdim=True) + floor * floor)
        return y if gain is None else y * (self.vector(gain) + (1.0 if adds_one else 0.0))

    def gelu(self, x: Tensor) -> Tensor:
        return F.gelu(x, approximate="tanh")

    def attend(
        self, q: Tensor, k: Tensor, v: Tensor, scale: float, positions: Tensor | None = None
    ) -> Tensor:
        # Core ML's operation always divides by the square root of the head size.
        factor = scale * math.sqrt(q.shape[-1])
        if not math.isclose(factor, 1.0):
            q = q * factor
        attended = placeholder_attention(*(each.transpose(1, 2) for each in (q, k, v)))
        return attended.transpose(1, 2).flatten(2)

    def table(self, name: str) -> Tensor:
        return self.matrices[name]  # [rows, width], as much as [1, rows, width] where it is added

    def vector(self, name: str) -> Tensor:
        return self.constants.vectors[name]

    def mean(self, x: Tensor, axis: int) -> Tensor:
        return x.mean(axis)

    def place(self, positions: Tensor, prefix: str) -> Tensor:
        across, down = (
            F.embedding(positions[..., axis], self.matrices[f"{prefix}.{name}"])
            for axis, name in enumerate("xy")
        )
        return across + down

    def rotate(self, x: Tensor, positions: Tensor, theta: float) -> Tensor:
        cos, sin = self._turn(positions)
        half, quarter = x.shape[-1] // 2, x.shape[-1] // 4
        swapped = [
            -x[..., quarter:half],
            x[..., :quarter],
            -x[..., half + quarter :],
            x[..., half : half + quarter],
        ]
        return x * cos + torch.cat(swapped, dim=-1) * sin

    def pool(self, x: Tensor, positions: Tensor, kernel: int, length: int) -> Tensor:
        square = kernel**2
        return (x * (1.0 / square)).reshape(1, -1, square, x.shape[-1]).sum(2)

    def _shrunk(self, x: Tensor, eps: float) -> tuple[Tensor, Tensor]:
        """x by its rows' largest magnitude, and the root of eps by it: see `CoreMlDialect.norm`."""
        root = self.constants.roots[eps]
        peak = torch.maximum(torch.amax(torch.abs(x), dim=-1, keepdim=True), root)
        return x / peak, root / peak

    def _turn(self, positions: Tensor) -> list[Tensor]:
        """cos and sin of each patch, [1, patches, 1, head_dim]; all layers share them."""
        if not self._turns:
            assert self.constants.turns is not None  # of the towers that turn patches
            for table in self.constants.turns:
                across, down = (F.embedding(positions[..., axis], table) for axis in (0, 1))
                self._turns.append(torch.cat([across, across, down, down], dim=-1)[:, :, None])
        return self._turns

    def _bound(self, name: str) -> float:
        return float(self.vector(name))


def _clamped(x: Tensor, least: float | None, most: float | None) -> Tensor:
    """x between bounds; none where half precision holds nothing beyond them."""
    if least is None or most is None or (least <= -HALF_MAX and most >= HALF_MAX):
        return x
    return x.clamp(max(least, -HALF_MAX), min(most, HALF_MAX))
