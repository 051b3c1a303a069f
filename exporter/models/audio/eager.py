"""`EagerAudio`: audio encoders in plain torch.

The dialect that proves them against transformers. Not a runtime anyone ships, and not a reference for
artifacts: transformers is that.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor

from exporter.models.audio.spec import FILTER, FRAMES_PER_TOKEN, STRIDE
from exporter.models.vision.spec import BOUNDS

CLOSED = -1e9  # the score of what is not seen


@dataclass(frozen=True)
class EagerAudio:
    """Satisfies `AudioDialect`. weights: by canonical name. A sound is [1, frames] bool."""

    weights: Mapping[str, Tensor]

    def audible(self, x: Tensor, sound: Tensor, step: int) -> Tensor:
        return x * sound[:, ::step, None, None]

    def subsample(self, x: Tensor, weight: str) -> Tensor:
        filters = self.weights[weight].reshape(-1, x.shape[-1], FILTER, FILTER)
        return F.conv2d(x.permute(0, 3, 1, 2), filters, stride=STRIDE, padding=1).permute(0, 2, 3, 1)

    def project(self, x: Tensor, weight: str, bias: str | None = None, clip: str | None = None) -> Tensor:
        if clip is None:
            return F.linear(x, self.weights[weight], None if bias is None else self.weights[bias])
        lowest, highest, least, most = (self.weights[f"{clip}.{bound}"] for bound in BOUNDS)
        return F.linear(x.clamp(lowest, highest), self.weights[weight]).clamp(least, most)

    def layer_norm(self, x: Tensor, gain: str, eps: float) -> Tensor:
        return F.layer_norm(x, x.shape[-1:], self.weights[gain], None, eps)

    def norm(self, x: Tensor, gain: str | None, eps: float) -> Tensor:
        y = x * torch.rsqrt(x.pow(2).mean(-1, keepdim=True) + eps)
        return y if gain is None else y * self.weights[gain]

    def relu(self, x: Tensor) -> Tensor:
        return F.relu(x)

    def silu(self, x: Tensor) -> Tensor:
        return F.silu(x)

    def gated(self, x: Tensor) -> Tensor:
        return F.glu(x, dim=-1)

    def between(self, x: Tensor, bound: float) -> Tensor:
        return x.clamp(-bound, bound)

    def delayed(self, x: Tensor, frames: int) -> Tensor:
        return F.pad(x, (0, 0, frames, 0))[:, : x.shape[1]]

    def vector(self, name: str) -> Tensor:
        return self.weights[name]

    def softplus(self, name: str) -> Tensor:
        return F.softplus(self.weights[name])

    def constant(self, values: NDArray[np.float32]) -> Tensor:
        return torch.from_numpy(values)

    def attend(
        self, q: Tensor, k: Tensor, v: Tensor, relative: Tensor, cap: float, sound: Tensor
    ) -> Tensor:
        # Every frame to every other one: blocks are the runtimes' way to do less, not what is computed.
        queries, keys, values, shifts = (each.transpose(1, 2) for each in (q, k, v, relative))
        at, chunk = torch.arange(q.shape[1]), relative.shape[1] - 1
        distance = at[:, None] - at[None, :]
        by_distance = queries @ shifts.transpose(2, 3)  # [1, heads, frames, chunk + 1]
        column = (chunk - distance).clamp(0, chunk).expand(1, q.shape[2], -1, -1)
        scores = queries @ keys.transpose(2, 3) + by_distance.gather(-1, column)
        scores = torch.tanh(scores / cap) * cap
        seen = (distance >= 0) & (distance < chunk) & sound[:, None, None, ::FRAMES_PER_TOKEN]
        weights = torch.softmax(scores.masked_fill(~seen, CLOSED), dim=-1)
        return (weights @ values).transpose(1, 2).flatten(2)
