"""`CoreMlVision`: image towers as operations Core ML keeps exact in half precision.

A picture enters as it is: its squares are cut by reshapes of rank 5, the most Core ML has. Of Gemma 4's
pictures every patch is one, with no row of padding, since lengths are free, and the patches of each square
follow each other: pooling is a mean of rows that are neighbours. Places index tables, nothing is computed
with them.
Not about linears and norms (`tower_dialect`) or tracing (`vision_conversion`).
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field

import torch
import torch.nn.functional as F
from torch import Tensor

from exporter.lowering.coreml.graph_nodes import placeholder_attention
from exporter.lowering.coreml.tower_dialect import CoreMlTower
from exporter.models.vision.spec import CHANNELS


def rotations(places: int, head_dim: int, theta: float) -> tuple[Tensor, Tensor]:
    """Cosines and sines of places along one axis, [places, head_dim / 4]: half a head is one axis', turned
    in its own halves."""
    half = head_dim // 2
    frequencies = theta ** (-torch.arange(0, half, 2, dtype=torch.float32) / half)
    angles = torch.arange(places)[:, None].float() * frequencies
    return angles.cos(), angles.sin()


@dataclass
class CoreMlVision(CoreMlTower):
    """Satisfies `VisionDialect` for one traced forward pass. Positions are [1, patches, 2] int32.

    turns: cosines and sines by place, [places, head_dim / 4], where patches are turned.
    """

    turns: tuple[Tensor, Tensor] | None = None
    _turns: list[Tensor] = field(default_factory=list)

    def squares(self, pixels: Tensor, weight: str, bias: str, patch: int) -> Tensor:
        side = pixels.shape[-1] // patch
        x = pixels.reshape(CHANNELS, side, patch, side, patch).permute(1, 3, 0, 2, 4)
        return self.project(x.reshape(1, side * side, CHANNELS * patch * patch), weight, bias)

    def layer_norm(self, x: Tensor, name: str, eps: float) -> Tensor:
        y = self.centred(x, eps)
        return y * self.vector(f"{name}.weight") + self.vector(f"{name}.bias")

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

    def _turn(self, positions: Tensor) -> list[Tensor]:
        """cos and sin of each patch, [1, patches, 1, head_dim]; all layers share them."""
        if not self._turns:
            assert self.turns is not None  # of the towers that turn patches
            for table in self.turns:
                across, down = (F.embedding(positions[..., axis], table) for axis in (0, 1))
                self._turns.append(torch.cat([across, across, down, down], dim=-1)[:, :, None])
        return self._turns
