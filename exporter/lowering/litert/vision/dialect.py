"""`LiteRtVision`: image towers in LiteRT's operations.

Whatever depends on a patch's place is looked up in constant tables or told by factors of 0 and 1, which
fp16 holds where it holds no angle of a few hundred. Attention takes its queries in blocks, so that the
scores of 4096 patches stay small. Not about how weights are stored (`storage`) or what a model takes
(`vision.graphs`).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, TypeVar

import numpy as np
import torch
from torch import Tensor

from exporter.lowering.litert.cache_tensors import OUTSIDE_WINDOW
from exporter.lowering.litert.linears import root_mean_square_normed
from exporter.lowering.litert.tower_dialect import LiteRtTower
from exporter.models.vision.spec import CHANNELS

T = TypeVar("T")

QUERIES = 1024  # at once, at most
SCORES = 1 << 26  # numbers of a block's scores, at most


@dataclass
class LiteRtVision(LiteRtTower):
    """Satisfies `VisionDialect`; positions are [1, patches, 2] int32.

    furthest: no patch stands so far to the right or below.
    """

    furthest: int
    _made: dict[object, Any] = field(default_factory=dict)  # of the model's positions, by what it is

    def squares(self, pixels: Tensor, weight: str, bias: str, patch: int) -> Tensor:
        """pixels: [1, side, side, 3]."""
        ops, side = self.ops, pixels.shape[1] // patch
        x = ops.reshape(pixels, [side, patch, side, patch * CHANNELS])
        x = ops.reshape(ops.transpose(x, [0, 2, 1, 3]), [side * side, patch * patch, CHANNELS])
        x = ops.reshape(ops.transpose(x, [0, 2, 1]), [1, side * side, CHANNELS * patch * patch])
        return self.project(x, weight, bias)

    def layer_norm(self, x: Tensor, name: str, eps: float) -> Tensor:
        y = self.ops.multiply(self.centred(x, eps), self.vector(f"{name}.weight"))
        return self.ops.add(y, self.vector(f"{name}.bias"))

    def norm(self, x: Tensor, gain: str | None, eps: float, adds_one: bool = False) -> Tensor:
        y = root_mean_square_normed(self.ops, x, eps)
        if gain is None:
            return y
        gains = self.vectors[gain] + np.float32(1.0 if adds_one else 0.0)
        return self.ops.multiply(y, self.ops.graph.constant(gains, gain))

    def gelu(self, x: Tensor) -> Tensor:
        return self.ops.gelu(x)

    def attend(
        self, q: Tensor, k: Tensor, v: Tensor, scale: float, positions: Tensor | None = None
    ) -> Tensor:
        ops, (patches, heads, head_dim) = self.ops, q.shape[1:]
        q = q if scale == 1.0 else ops.multiply(q, scale)
        q, k, v = (
            ops.transpose(each, order)
            for each, order in ((q, [0, 2, 1, 3]), (k, [0, 2, 1, 3]), (v, [0, 2, 3, 1]))
        )
        closed = None if positions is None else self._closed(positions)
        parts, step = [], _queries_at_once(patches, heads)
        for start in range(0, patches, step):
            some = q if step >= patches else ops.slice(q, 2, start, min(patches, start + step))
            scores = ops.matmul_transposed(some, k)  # [1, heads, queries, patches]
            scores = scores if closed is None else ops.add(scores, closed)
            parts.append(ops.matmul_transposed(ops.softmax(scores), v))
        attended = parts[0] if len(parts) == 1 else ops.concatenate(parts, axis=2)
        return ops.reshape(ops.transpose(attended, [0, 2, 1, 3]), [1, patches, heads * head_dim])

    def table(self, name: str) -> Tensor:
        weight = self.linears.weight(name)
        if weight.dtype == torch.float16:  # LiteRT's GPU accelerator looks up and reshapes no constants
            return self.ops.widen(weight)
        every = self.ops.graph.constant(np.arange(weight.shape[0], dtype=np.int32))
        return self.ops.reshape(self.ops.embedding(every, weight), [1, *weight.shape])

    def mean(self, x: Tensor, axis: int) -> Tensor:
        return self.ops.mean_over(x, axis)

    def place(self, positions: Tensor, prefix: str) -> Tensor:
        ops = self.ops
        by_x, by_y = (
            ops.embedding(self._along(positions, axis), self.linears.weight(f"{prefix}.{name}"))
            for axis, name in enumerate("xy")
        )
        both = ops.add(by_x, by_y)
        return ops.multiply(ops.reshape(both, [1, *both.shape]), self.present(positions))

    def rotate(self, x: Tensor, positions: Tensor, theta: float) -> Tensor:
        """(a, b) of each half becomes (a cos - b sin, b cos + a sin)."""
        ops, head_dim = self.ops, x.shape[3]
        half, quarter = head_dim // 2, head_dim // 4
        cos, sin = self._rotation(positions, theta, head_dim)
        swapped = ops.concatenate(
            [ops.slice(x, 3, at, at + quarter) for at in (quarter, 0, half + quarter, half)], axis=3
        )
        return ops.add(ops.multiply(x, cos), ops.multiply(swapped, sin))

    def pool(self, x: Tensor, positions: Tensor, kernel: int, length: int) -> Tensor:
        shares = self.ops.multiply(self.in_square(positions, kernel, length), 1.0 / kernel**2)
        return self.ops.matmul_transposed(shares, self.ops.transpose(x, [0, 2, 1]))

    def in_square(self, positions: Tensor, kernel: int, length: int) -> Tensor:
        """Which patch lies in which square of kernel x kernel, row by row: [1, length, patches], 0 or 1."""
        return self._once("in square", lambda: self._in_square(positions, kernel, length))

    def present(self, positions: Tensor) -> Tensor:
        """[1, patches, 1]: 0 for what is no patch, 1 for others."""

        def make() -> Tensor:
            x = self.ops.as_float(self.ops.slice(positions, 2, 0, 1))
            return self.ops.between(self.ops.add(x, 1.0), 0.0, 1.0)

        return self._once("present", make)

    def _once(self, what: object, make: Callable[[], T]) -> T:
        if what not in self._made:
            self._made[what] = make()
        made: T = self._made[what]
        return made

    def _closed(self, positions: Tensor) -> Tensor:
        """What is added to scores: [1, 1, 1, patches], very negative for what is no patch."""
        ops, shape = self.ops, [1, 1, 1, positions.shape[1]]

        def make() -> Tensor:
            return ops.multiply(ops.add(ops.reshape(self.present(positions), shape), -1.0), -OUTSIDE_WINDOW)

        return self._once("closed", make)

    def _in_square(self, positions: Tensor, kernel: int, length: int) -> Tensor:
        ops, patches = self.ops, positions.shape[1]
        square_of = ops.graph.constant((np.arange(self.furthest) // kernel).astype(np.float32))
        x, y = (
            ops.reshape(ops.gather(square_of, self._along(positions, axis), 0), [1, 1, patches])
            for axis in (0, 1)
        )
        squares_in_a_row = ops.add(ops.largest(x), 1.0)
        square = ops.add(x, ops.multiply(y, squares_in_a_row))
        every = ops.graph.constant(np.arange(length, dtype=np.float32).reshape(1, length, 1))
        # 1 - |a - b| of whole numbers: 1 where they are equal, 0 and less elsewhere.
        off = ops.absolute(ops.subtract(square, every))
        inside = ops.maximum(ops.add(ops.multiply(off, -1.0), 1.0), 0.0)
        return ops.multiply(inside, ops.reshape(self.present(positions), [1, 1, patches]))

    def _along(self, positions: Tensor, axis: int) -> Tensor:
        """x or y of every patch, [patches] int32, 0 for what is none."""
        ops, patches = self.ops, positions.shape[1]

        def make() -> Tensor:
            at = ops.reshape(ops.slice(positions, 2, axis, axis + 1), [patches])
            return ops.minimum(ops.maximum(at, 0), self.furthest - 1)

        return self._once(("along", axis), make)

    def _rotation(self, positions: Tensor, theta: float, head_dim: int) -> tuple[Tensor, Tensor]:
        """cos and sin [1, patches, 1, head_dim], the first quarter of each half of sin negative."""
        ops, half = self.ops, head_dim // 2

        def make() -> tuple[Tensor, Tensor]:
            frequencies = theta ** (-torch.arange(0, half, 2, dtype=torch.float32) / half)
            angles = torch.arange(self.furthest)[:, None].float() * frequencies
            cosines, sines = [], []
            for axis in (0, 1):
                cos, sin = (
                    ops.gather(ops.graph.constant(table.numpy()), self._along(positions, axis), 0)
                    for table in (angles.cos(), angles.sin())
                )
                cosines += [cos, cos]
                sines += [ops.multiply(sin, -1.0), sin]
            shape = [1, positions.shape[1], 1, head_dim]
            cos, sin = (ops.reshape(ops.concatenate(each, axis=1), shape) for each in (cosines, sines))
            return cos, sin

        return self._once(("rotation", theta), make)


def _queries_at_once(patches: int, heads: int) -> int:
    """A power of two, so that a block's scores stay within SCORES."""
    step = QUERIES
    while step > 1 and step * patches * heads > SCORES:
        step //= 2
    return step
