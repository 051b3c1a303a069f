"""`EagerVision`: image towers in plain torch.

The dialect that proves them against transformers. Not a runtime anyone ships, and not a reference for
artifacts: transformers is that.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from exporter.models.vision.spec import BOUNDS, CHANNELS

CLOSED = -1e9  # added to the score of what is no patch


@dataclass(frozen=True)
class EagerVision:
    """Satisfies `VisionDialect`. weights: by canonical name. Positions are [1, patches, 2] int64."""

    weights: Mapping[str, Tensor]

    def squares(self, pixels: Tensor, weight: str, bias: str, patch: int) -> Tensor:
        filters = self.weights[weight].reshape(-1, CHANNELS, patch, patch)
        return F.conv2d(pixels, filters, self.weights[bias], stride=patch).flatten(2).transpose(1, 2)

    def project(self, x: Tensor, weight: str, bias: str | None = None, clip: str | None = None) -> Tensor:
        if clip is None:
            return F.linear(x, self.weights[weight], None if bias is None else self.weights[bias])
        lowest, highest, least, most = (self.weights[f"{clip}.{bound}"] for bound in BOUNDS)
        return F.linear(x.clamp(lowest, highest), self.weights[weight]).clamp(least, most)

    def layer_norm(self, x: Tensor, name: str, eps: float) -> Tensor:
        weight, bias = self.weights[f"{name}.weight"], self.weights[f"{name}.bias"]
        return F.layer_norm(x, x.shape[-1:], weight, bias, eps)

    def norm(self, x: Tensor, gain: str | None, eps: float, adds_one: bool = False) -> Tensor:
        y = x * torch.rsqrt(x.pow(2).mean(-1, keepdim=True) + eps)
        return y if gain is None else y * (self.weights[gain] + (1.0 if adds_one else 0.0))

    def gelu(self, x: Tensor) -> Tensor:
        return F.gelu(x, approximate="tanh")

    def attend(
        self, q: Tensor, k: Tensor, v: Tensor, scale: float, positions: Tensor | None = None
    ) -> Tensor:
        queries, keys, values = (each.transpose(1, 2) for each in (q, k, v))
        scores = queries @ keys.transpose(2, 3) * scale
        if positions is not None:
            scores = scores + (_present(positions)[:, None, None, :, 0] - 1.0) * -CLOSED
        return (torch.softmax(scores, dim=-1) @ values).transpose(1, 2).flatten(2)

    def table(self, name: str) -> Tensor:
        return self.weights[name][None]

    def vector(self, name: str) -> Tensor:
        return self.weights[name]

    def mean(self, x: Tensor, axis: int) -> Tensor:
        return x.mean(axis)

    def place(self, positions: Tensor, prefix: str) -> Tensor:
        rows = [
            F.embedding(positions[..., axis].clamp(min=0), self.weights[f"{prefix}.{name}"])
            for axis, name in enumerate("xy")
        ]
        return (rows[0] + rows[1]) * _present(positions)

    def rotate(self, x: Tensor, positions: Tensor, theta: float) -> Tensor:
        half = x.shape[-1] // 2
        frequencies = theta ** (-torch.arange(0, half, 2, dtype=torch.float32) / half)
        turned = []
        for axis in (0, 1):
            part = x[..., axis * half : (axis + 1) * half]
            angles = positions[..., axis, None].float() * frequencies
            cos, sin = (torch.cat([each] * 2, -1)[:, :, None] for each in (angles.cos(), angles.sin()))
            swapped = torch.cat([-part[..., half // 2 :], part[..., : half // 2]], -1)
            turned.append(part * cos + swapped * sin)
        return torch.cat(turned, -1)

    def pool(self, x: Tensor, positions: Tensor, kernel: int, length: int) -> Tensor:
        at = positions.clamp(min=0)
        squares_in_a_row = (at[..., 0].amax(-1, keepdim=True) + 1) // kernel
        square = at[..., 0] // kernel + squares_in_a_row * (at[..., 1] // kernel)
        shares = F.one_hot(square, length).float().transpose(1, 2) / kernel**2
        return shares @ (x * _present(positions))


def _present(positions: Tensor) -> Tensor:
    """[1, patches, 1]: 0 for what is no patch, 1 for others."""
    return (positions[..., :1] >= 0).float()
