"""`OnnxAudio`: what audio encoders are made of, as ONNX Runtime's kernels want it.

A sound is bool [1, frames]: whether a frame is one. How many frames there are is free. Attention gathers,
for every frame, the few that it sees: nothing is as long as the sound twice, and the distance to a frame
is where it lies among those. Not about what a graph takes and returns (`audio_trace`).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from exporter.lowering.onnx.graph_builder import EXAMPLE, FRAMES, HALF_FRAMES, LENGTHS, SOFT_TOKENS
from exporter.lowering.onnx.matrix_operators import FLOAT
from exporter.lowering.onnx.tower_operators import TowerOperators
from exporter.models.audio.spec import FILTER, STRIDE

CLOSED = -1e9  # the score of what is before the sound
# Frames that are left of so many by one convolution at the start.
HALVED = {EXAMPLE[FRAMES]: EXAMPLE[HALF_FRAMES], EXAMPLE[HALF_FRAMES]: EXAMPLE[SOFT_TOKENS]}
LAST = np.iinfo(np.int64).max


@dataclass
class OnnxAudio(TowerOperators):
    """Satisfies `AudioDialect` for one trace."""

    _seen: tuple[Tensor, Tensor] | None = None

    def audible(self, x: Tensor, sound: Tensor, step: int) -> Tensor:
        there = self._cast(self.every(sound, step, x.shape[1]), FLOAT, torch.float32)
        return x * self._unsqueeze(there, 2, 3)

    def every(self, sound: Tensor, step: int, count: int) -> Tensor:
        """Each frame of a sound that is so many behind the last one; there are `count`."""
        return sound if step == 1 else self._sliced(sound, 1, (0, LAST, step), (1, count))

    def subsample(self, x: Tensor, weight: str) -> Tensor:
        _, frames, bands, channels = x.shape
        out = self.matrices[weight].shape[0]
        plane = self._turned(x, (0, 3, 1, 2))
        filters = self.matrices.filters(weight).reshape(out, channels, FILTER, FILTER)
        sides = [FILTER, FILTER]
        attributes = {"kernel_shape": sides, "strides": [STRIDE, STRIDE], "pads": [1, 1, 1, 1]}
        shape = (1, out, HALVED[frames], -(-bands // STRIDE))
        return self._turned(self.graph.op("Conv", (plane, filters), shape, attributes), (0, 2, 3, 1))

    def layer_norm(self, x: Tensor, gain: str, eps: float) -> Tensor:
        attributes = {"axis": -1, "epsilon": eps, "stash_type": FLOAT}
        return self.graph.op("LayerNormalization", (x, self.vector(gain)), x.shape, attributes)

    def relu(self, x: Tensor) -> Tensor:
        return self.graph.op("Relu", (x,), x.shape)

    def silu(self, x: Tensor) -> Tensor:
        return x * self._sigmoid(x)

    def gated(self, x: Tensor) -> Tensor:
        shape = (*x.shape[:-1], x.shape[-1] // 2)
        value, gate = self.graph.ops("Split", (x,), (shape, shape), {"axis": -1, "num_outputs": 2})
        return value * self._sigmoid(gate)

    def between(self, x: Tensor, bound: float) -> Tensor:
        bounds = (self.graph.constant(np.array(each, np.float32)) for each in (-bound, bound))
        return self.graph.op("Clip", (x, *bounds), x.shape)

    def delayed(self, x: Tensor, frames: int) -> Tensor:
        pads = self.graph.constant(np.array([0, frames, 0, 0, 0, 0], np.int64))
        longer = self.graph.op("Pad", (x, pads), x.shape)
        return self._sliced(longer, 1, (0, -frames, 1), x.shape)

    def softplus(self, name: str) -> Tensor:
        weight = self.vector(name)
        return self.graph.op("Softplus", (weight,), weight.shape)

    def constant(self, values: NDArray[np.float32]) -> Tensor:
        return self.graph.constant(values)

    def attend(
        self, q: Tensor, k: Tensor, v: Tensor, relative: Tensor, cap: float, sound: Tensor
    ) -> Tensor:
        # What is behind a frame is not gathered for it, so that no padding is: sound is not asked.
        (_, frames, heads, head_dim), chunk = q.shape, relative.shape[1] - 1
        at, there = self._seen = self._seen or self._seen_by_each(q, chunk)
        queries, keys, values = (
            self._turned(each.reshape(frames, heads, head_dim), (1, 0, 2)) for each in (q, k, v)
        )
        shape = (heads, frames, chunk, head_dim)
        keys, values = (self.graph.op("Gather", (each, at), shape, {"axis": 1}) for each in (keys, values))
        near = relative.reshape(chunk + 1, heads, head_dim)
        near = self._sliced(near, 0, (1, LAST, 1), (chunk, heads, head_dim))
        by_distance = self.graph.op("MatMul", (queries, self._turned(near, (1, 2, 0))), shape[:3])
        by_key = self.graph.op("MatMul", (keys, self._unsqueeze(queries, 3)), (*shape[:3], 1))
        scores = torch.tanh((self._squeezed(by_key, 3) + by_distance) / cap) * cap
        closed = self.graph.constant(np.array(CLOSED, np.float32))
        scores = self.graph.op("Where", (there, scores, closed), scores.shape)
        weights = self.graph.op("Softmax", (scores,), scores.shape, {"axis": -1})
        pair = (self._unsqueeze(weights, 2), values)
        found = self._squeezed(self.graph.op("MatMul", pair, (heads, frames, 1, head_dim)), 2)
        return self._turned(found, (1, 0, 2)).reshape(1, frames, heads * head_dim)

    def _seen_by_each(self, frames: Tensor, chunk: int) -> tuple[Tensor, Tensor]:
        """[frames, chunk] each: the frames that one sees, from the one furthest back to itself, and whether
        there are such frames; 0 stands for one that is not."""
        count = frames.shape[1]
        length = self._counted("Shape", (frames,), (1,), {"start": 1, "end": 2})
        bounds = (self._number(0), self._counted("Squeeze", (length,), ()), self._number(1))
        numbers = self._unsqueeze(self._counted("Range", bounds, (count,)), 1)
        back = self.graph.constant(np.arange(chunk - 1, -1, -1, dtype=np.int64))
        at = self._counted("Sub", (numbers, back), (count, chunk))
        pair, name = (at, self._number(0)), f"{LENGTHS}sounds.there"
        there = self.graph.op("GreaterOrEqual", pair, at.shape, name=name, dtype=torch.bool)
        return self._counted("Max", pair, at.shape), there

    def _counted(
        self,
        kind: str,
        operands: Sequence[Tensor],
        shape: Sequence[int],
        attributes: dict[str, int] | None = None,
    ) -> Tensor:
        """An operator on whole numbers."""
        name = f"{LENGTHS}sounds.{kind}"
        return self.graph.op(kind, operands, shape, attributes, name=name, dtype=torch.int64)

    def _sigmoid(self, x: Tensor) -> Tensor:
        return self.graph.op("Sigmoid", (x,), x.shape)

    def _turned(self, x: Tensor, axes: Sequence[int]) -> Tensor:
        shape = [x.shape[axis] for axis in axes]
        return self.graph.op("Transpose", (x,), shape, {"perm": list(axes)})

    def _squeezed(self, x: Tensor, axis: int) -> Tensor:
        shape = [side for i, side in enumerate(x.shape) if i != axis]
        axes = self.graph.constant(np.array([axis], np.int64))
        return self.graph.op("Squeeze", (x, axes), shape)

    def _sliced(self, x: Tensor, axis: int, bounds: tuple[int, int, int], shape: Sequence[int]) -> Tensor:
        """bounds: first, end and step."""
        start, end, step = (self.graph.constant(np.array([n], np.int64)) for n in bounds)
        axes = self.graph.constant(np.array([axis], np.int64))
        return self.graph.op("Slice", (x, start, end, axes, step), shape, dtype=x.dtype)
