"""`CoreMlAudio`: audio encoders as operations Core ML keeps exact in half precision.

Every frame of a sound is one, with no padding behind it, since lengths are free. Attention is computed in
blocks of as many frames as one sees, each over itself and the block before: what it costs grows with a
sound's length, not with its square. A distance's score comes to its place by a reshape whose rows are one
number longer, so that each row stands one further to the right. A convolution is a linear over its nine
neighbours, in whatever scheme its filters are.
Not about linears and norms (`tower_dialect`) or tracing (`audio_conversion`).
"""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor

from exporter.lowering.coreml.dialect import MASKED
from exporter.lowering.coreml.graph_nodes import whole_blocks
from exporter.lowering.coreml.tower_dialect import CoreMlTower
from exporter.models.audio.spec import FILTER, STRIDE


def closed_scores(chunk: int, blocks: int) -> Tensor:
    """What is added to scores of so many blocks, [blocks, 1, chunk, 2 * chunk]: of a block's frames to
    those of the one before and their own. What comes later is closed, what is `chunk` or more away, and
    what would be before the sound."""
    queries = torch.arange(chunk, 2 * chunk)[:, None]
    distance = queries - torch.arange(2 * chunk)
    seen = ((distance >= 0) & (distance < chunk)).repeat(blocks, 1, 1, 1)
    seen[0, ..., :chunk] = False
    return torch.where(seen, 0.0, MASKED)


@dataclass
class CoreMlAudio(CoreMlTower):
    """Satisfies `AudioDialect` for one traced forward pass. Of a sound nothing needs to be known.

    closed: scores of as many blocks as there may be; None where no frame sees another.
    """

    closed: Tensor | None = None
    _end: list[Tensor] = field(default_factory=list)
    _bias: list[Tensor] = field(default_factory=list)

    def audible(self, x: Tensor, sound: None, step: int) -> Tensor:
        return x

    def subsample(self, x: Tensor, weight: str) -> Tensor:
        x = F.pad(x, (0, 0, 1, 1, 1, 1))
        steps = [slice(at, at - (FILTER - 1) or None, STRIDE) for at in range(FILTER)]
        taps = [x[:, frames, bands] for frames in steps for bands in steps]
        return self.project(torch.stack(taps, dim=-1).flatten(3), weight)

    def layer_norm(self, x: Tensor, gain: str, eps: float) -> Tensor:
        return self.centred(x, eps) * self.vector(gain)

    def relu(self, x: Tensor) -> Tensor:
        return F.relu(x)

    def silu(self, x: Tensor) -> Tensor:
        return F.silu(x)

    def gated(self, x: Tensor) -> Tensor:
        half = x.shape[-1] // 2
        return x[..., :half] * torch.sigmoid(x[..., half:])

    def between(self, x: Tensor, bound: float) -> Tensor:
        return x.clamp(-bound, bound)

    def delayed(self, x: Tensor, frames: int) -> Tensor:
        return _with_zeros(x, frames, 0)[:, :-frames]

    def softplus(self, name: str) -> Tensor:
        # Through numpy: a trace records no arithmetic on it.
        return torch.from_numpy(F.softplus(self.vector(name)).numpy().copy())

    def constant(self, values: NDArray[np.float32]) -> Tensor:
        return torch.from_numpy(values)

    def attend(self, q: Tensor, k: Tensor, v: Tensor, relative: Tensor, cap: float, sound: None) -> Tensor:
        frames, heads, width = q.shape[1:]
        chunk = int(relative.shape[1]) - 1  # a number: of what is traced, sizes are values
        if not self._end:
            self._end.append(whole_blocks(frames, chunk))
        (end,) = self._end

        def blocks(x: Tensor, late: int = 0) -> Tensor:
            """[1, frames, heads, width] to [blocks, heads, chunk, width], so many frames later."""
            whole = _with_zeros(x, late, chunk - 1)[:, :end]
            return whole.reshape(-1, chunk, heads, width).transpose(1, 2)

        def around(x: Tensor) -> Tensor:
            """The block before in front of each: [blocks, heads, 2 * chunk, width]."""
            return torch.cat([blocks(x, late=chunk), blocks(x)], dim=2)

        query = blocks(q * (1.0 / cap))
        # [blocks, heads, chunk, 2 * chunk + 1], by distance from chunk down; what is behind 0 is no score.
        by_distance = query @ _with_zeros(relative, 0, chunk).permute(0, 2, 3, 1)
        moved = by_distance.flatten(2)[..., : 2 * chunk**2].reshape(-1, heads, chunk, 2 * chunk)
        scores = torch.tanh(query @ around(k).transpose(2, 3) + moved) * cap + self._closed(query)
        attended = (torch.softmax(scores, dim=-1) @ around(v)).transpose(1, 2)
        return attended.reshape(1, -1, heads * width)[:, :frames]

    def _closed(self, query: Tensor) -> Tensor:
        """Of as many blocks as the sound has; all layers share it."""
        if not self._bias:
            assert self.closed is not None  # of the encoders whose frames see each other
            self._bias.append(self.closed[: query.shape[0]])
        return self._bias[0]


def _with_zeros(x: Tensor, before: int, behind: int) -> Tensor:
    """x [1, frames, ...] with so many frames of zeros."""
    return F.pad(x, [0] * (2 * (x.dim() - 2)) + [before, behind])
