"""`Linears`: multiplying with stored matrices, and a norm that fp16 holds: what decoder and towers share.

Not about which matrices there are or what is made of the products (`dialect`, `vision.dialect`).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from torch import Tensor

from exporter.lowering.litert.operations import Operations

# The smallest normal number of fp16: what is divided by may not be taken for 0.
SMALLEST = 2.0**-14


@dataclass(frozen=True)
class Linears:
    """Matrices of one signature.

    weight: the value of a matrix by name. split: those whose input is given in two parts, so that XNNPACK's
    rounding of it costs nothing. factors: what is multiplied with what comes of a matrix, row by row
    (`row_factors`).
    """

    ops: Operations
    weight: Callable[[str], Tensor]
    split: Callable[[str], bool]
    factors: Callable[[str], Tensor | None]

    def project(self, x: Tensor, weights: Sequence[str]) -> list[Tensor]:
        """x times each weight [out, in] transposed."""
        results, parts = [], None
        for name in weights:
            if self.split(name):
                if parts is None:
                    parts = self._coarse_and_rest(x)
                y = self.ops.sum_first(self.ops.fully_connected(parts, self.weight(name)))
            else:
                y = self.ops.fully_connected(x, self.weight(name))
            factors = self.factors(name)
            results.append(y if factors is None else self.ops.multiply(y, factors))
        return results

    def _coarse_and_rest(self, x: Tensor) -> Tensor:
        """[1, tokens, in] to [2, tokens, in], which sum to x: as XNNPACK would round it, and the rest.

        XNNPACK rounds each row to 255 steps from its smallest to its largest value, 0 among them: the
        coarse part lies on those steps and passes unchanged, the rest is at most half a step and keeps
        8 bits more. Of a row whose values all have one sign, which no row of hundreds has, the steps would
        not be XNNPACK's and the rest no finer. Exact for kernels that do not round.
        """
        ops = self.ops
        span = ops.maximum(ops.subtract(ops.largest(x), ops.smallest(x)), SMALLEST)
        # In this order, for a step of a small span leaves fp16's normal numbers.
        steps = ops.round(ops.multiply(ops.divide(x, span), 255.0))
        coarse = ops.multiply(ops.multiply(steps, 1.0 / 255), span)
        return ops.concatenate([coarse, ops.subtract(x, coarse)], axis=0)


def root_mean_square_normed(ops: Operations, x: Tensor, eps: float) -> Tensor:
    """x / sqrt(mean(x²) + eps) over the last axis.

    mean(x²) + eps = peak² (mean((x / peak)²) + (root / peak)²), with peak at least root = √eps: the square
    of x overflows fp16 from 256 on.
    """
    root = max(math.sqrt(eps), SMALLEST)
    peak = ops.maximum(ops.largest(ops.absolute(x)), root)
    small = ops.divide(x, peak)
    floor = ops.divide(ops.scalar(root), peak)
    mean = ops.add(ops.mean(ops.multiply(small, small)), ops.multiply(floor, floor))
    return ops.multiply(small, ops.rsqrt(mean))
