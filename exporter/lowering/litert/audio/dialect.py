"""`LiteRtAudio`: audio encoders in LiteRT's operations.

Convolutions are matrix products of what a filter covers, so that their weights are stored and read back as
all others are; attention is computed in blocks of a chunk, each with the block before it. All lengths are
static. Not about how weights are stored (`storage`) or what a model takes (`audio.graphs`).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from exporter.lowering.litert.cache_tensors import OUTSIDE_WINDOW
from exporter.lowering.litert.linears import root_mean_square_normed
from exporter.lowering.litert.tower_dialect import LiteRtTower
from exporter.models.audio.spec import FILTER, STRIDE


@dataclass
class LiteRtAudio(LiteRtTower):
    """Satisfies `AudioDialect`. A sound is [1, frames] float32, 1 for what is one, else 0; frames are a
    multiple of those of a soft token. nothing: 0 [1, 1, 1] that is known when the graph runs and not
    before, None in a model that has no constants as activations."""

    nothing: Tensor | None = None

    def audible(self, x: Tensor, sound: Tensor, step: int) -> Tensor:
        ops, frames = self.ops, x.shape[1]
        first = ops.slice(ops.reshape(sound, [1, frames, step]), 2, 0, 1)
        return ops.multiply(x, ops.reshape(first, [1, frames, 1, 1]))

    def subsample(self, x: Tensor, weight: str) -> Tensor:
        """Frame 2t + d of what is padded is entry t of every second frame, from 0 (d = 0), 1 or 2 on; bands
        likewise."""
        ops, (_, frames, bands, channels) = self.ops, x.shape
        out = frames // STRIDE, bands // STRIDE
        x = ops.padded(ops.padded(x, 1, 1, 1), 2, 1, 1)
        x = ops.reshape(x, [out[0] + 1, STRIDE, out[1] + 1, STRIDE * channels])
        covered = []
        for down in range(FILTER):
            rows = ops.slice(
                ops.slice(x, 1, down % STRIDE, down % STRIDE + 1),
                0,
                down // STRIDE,
                out[0] + down // STRIDE,
            )
            for across in range(FILTER):
                at = across % STRIDE * channels
                some = ops.slice(rows, 3, at, at + channels)
                some = ops.slice(some, 2, across // STRIDE, out[1] + across // STRIDE)
                covered.append(ops.reshape(some, [out[0] * out[1], 1, channels]))
        # Stored with channels first.
        x = ops.transpose(ops.concatenate(covered, axis=1), [0, 2, 1])
        x = ops.reshape(x, [1, out[0] * out[1], channels * FILTER**2])
        y = self.project(x, weight)
        return ops.reshape(y, [1, *out, y.shape[2]])

    def layer_norm(self, x: Tensor, gain: str, eps: float) -> Tensor:
        return self.ops.multiply(self.centred(x, eps), self.vector(gain))

    def norm(self, x: Tensor, gain: str | None, eps: float) -> Tensor:
        y = root_mean_square_normed(self.ops, x, eps)
        return y if gain is None else self.ops.multiply(y, self.vector(gain))

    def relu(self, x: Tensor) -> Tensor:
        return self.ops.maximum(x, 0.0)

    def silu(self, x: Tensor) -> Tensor:
        return self.ops.multiply(x, self.ops.sigmoid(x))

    def gated(self, x: Tensor) -> Tensor:
        ops, half = self.ops, x.shape[2] // 2
        return ops.multiply(ops.slice(x, 2, 0, half), ops.sigmoid(ops.slice(x, 2, half, 2 * half)))

    def between(self, x: Tensor, bound: float) -> Tensor:
        return self.ops.between(x, -bound, bound)

    def delayed(self, x: Tensor, frames: int) -> Tensor:
        return self.ops.padded(self.ops.slice(x, 1, 0, x.shape[1] - frames), 1, frames, 0)

    def softplus(self, name: str) -> Tensor:
        return self.ops.graph.constant(np.logaddexp(np.float32(0), self.vectors[name]))

    def constant(self, values: NDArray[np.float32]) -> Tensor:
        # Of a constant as it stands, LiteRT's GPU accelerator takes no REDUCE_MAX, as linears make.
        assert self.nothing is not None
        return self.ops.add(self.ops.graph.constant(values), self.nothing)

    def attend(
        self, q: Tensor, k: Tensor, v: Tensor, relative: Tensor, cap: float, sound: Tensor
    ) -> Tensor:
        # Nothing is said of `sound`: padding lies behind it, and no frame sees a later one.
        ops, (frames, heads, head_dim) = self.ops, q.shape[1:]
        chunk = relative.shape[1] - 1
        blocks = -(-frames // chunk)
        q, k, v = (
            ops.transpose(ops.padded(each, 1, before, blocks * chunk - frames), [0, 2, 1, 3])
            for each, before in ((q, 0), (k, chunk), (v, chunk))
        )
        seen_k, seen_v = (self._with_the_one_before(each, chunk) for each in (k, v))
        shifts = ops.transpose(relative, [0, 2, 1, 3])  # [1, heads, chunk + 1, head_dim]
        by_distance = self._by_key(ops.matmul_transposed(q, shifts), chunk)
        q = ops.reshape(q, [heads, blocks, chunk, head_dim])
        scores = ops.add(ops.matmul_transposed(q, seen_k), by_distance)  # [heads, blocks, chunk, 2 chunk]
        scores = ops.multiply(ops.tanh(ops.multiply(scores, 1.0 / cap)), cap)
        shares = ops.softmax(ops.add(scores, ops.graph.constant(_closed(blocks, chunk))))
        attended = ops.matmul_transposed(shares, ops.transpose(seen_v, [0, 1, 3, 2]))
        attended = ops.reshape(attended, [1, heads, blocks * chunk, head_dim])
        attended = ops.transpose(ops.slice(attended, 2, 0, frames), [0, 2, 1, 3])
        return ops.reshape(attended, [1, frames, heads * head_dim])

    def _with_the_one_before(self, x: Tensor, chunk: int) -> Tensor:
        """[1, heads, (blocks + 1) * chunk, head_dim] to each block behind the one before it: [heads,
        blocks, 2 * chunk, head_dim]."""
        ops, (heads, frames, head_dim) = self.ops, x.shape[1:]
        count = frames // chunk
        x = ops.reshape(x, [heads, count, chunk, head_dim])
        return ops.concatenate([ops.slice(x, 1, 0, count - 1), ops.slice(x, 1, 1, count)], axis=2)

    def _by_key(self, x: Tensor, chunk: int) -> Tensor:
        """Numbers of each frame by distance, chunk down to 0, [1, heads, frames, chunk + 1], to those by
        key, [heads, blocks, chunk, 2 * chunk]: key j of frame i has distance chunk + i - j.

        Rows of 2 * chunk + 1 numbers, taken as rows of 2 * chunk, each begin one later than the one above.
        """
        ops, (heads, frames, _) = self.ops, x.shape[1:]
        blocks = frames // chunk
        x = ops.reshape(ops.padded(x, 3, 0, chunk), [heads, blocks, chunk * (2 * chunk + 1)])
        return ops.reshape(ops.slice(x, 2, 0, 2 * chunk * chunk), [heads, blocks, chunk, 2 * chunk])


def _closed(blocks: int, chunk: int) -> NDArray[np.float32]:
    """What is added to scores, [1, blocks, chunk, 2 * chunk]: very negative but for a frame and the
    chunk - 1 before it."""
    distance = chunk + np.arange(chunk)[:, None] - np.arange(2 * chunk)
    seen = np.broadcast_to((distance >= 0) & (distance < chunk), (1, blocks, chunk, 2 * chunk)).copy()
    seen[:, 0, :, :chunk] = False  # before the sound
    return np.where(seen, np.float32(0), np.float32(OUTSIDE_WINDOW))
