"""Codes found column after column, each making up for the rounding of those before it.

Least error of the linear's outputs, E|(w - ŵ) x|² = (w - ŵ) H (w - ŵ)ᵀ, instead of least error of weights:
GPTQ (Frantar et al. 2023) in the form of LDLQ (Chee et al. 2023). A group's scale is searched when the
group is reached, on what its columns are to make up for by then. Works on levels (code - zero point), with
columns first and in the factor's order. Not about refining what was found (`refinement`).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

from exporter.quantization.methods.moments_factor import MomentsFactor
from exporter.quantization.methods.scale_search import Tile, search_symmetric, search_with_zero_points
from exporter.schemes import IntegerScheme

Columns = NDArray[np.float32]  # [in, rows]
BLOCK = 128  # columns whose feedback from before is one product


@dataclass
class Levels:
    """levels: [in, rows], in the factor's order. scales, zero_points: [groups, rows], likewise; float32."""

    levels: Columns
    scales: Columns
    zero_points: Columns

    @property
    def arrays(self) -> tuple[Columns, Columns, Columns]:
        return self.levels, self.scales, self.zero_points

    def weights(self) -> Columns:
        """What the levels stand for, [in, rows]."""
        return self.levels * np.repeat(self.scales, len(self.levels) // len(self.scales), axis=0)


def round_with_feedback(targets: Columns, factor: MomentsFactor, scheme: IntegerScheme) -> Levels:
    """Levels for weights [in, rows], columns in the factor's order. Raises OverflowError as the search."""
    rounding = _Rounding(targets, factor, scheme)
    inputs, group = len(targets), rounding.group
    if group == inputs:  # one scale for all columns: found before the first is rounded
        rounding.search(targets, 0, inputs, np.diagonal(factor.second))
    block = BLOCK if group == inputs else max(BLOCK // group, 1) * group
    for start in range(0, inputs, block):
        stop = min(inputs, start + block)
        aimed = targets[start:stop].copy()
        if start:
            aimed += product(factor.feedback[:start, start:stop].T, rounding.errors[:start])
        for first in range(start, stop, min(group, block)):
            last = min(stop, first + group)
            rest = aimed[first - start :]
            if group < inputs:
                rounding.search(rest[: last - first], first, last, factor.conditional)
            rounding.round(rest, first, last)
            if last < stop:
                moved = product(factor.feedback[first:last, last:stop].T, rounding.errors[first:last])
                rest[last - first :] += moved
    return rounding.found


def round_to_nearest(targets: Columns, factor: MomentsFactor, scheme: IntegerScheme) -> Levels:
    """The same without feedback: every column as if the others were not rounded, and scales as coarsely
    searched as nearest codes have them, for few rows keep these."""
    rounding = _Rounding(targets, factor, scheme)
    found, group = rounding.found, rounding.group
    energy = np.diagonal(factor.second)
    for first in range(0, len(targets), group):
        part = slice(first, first + group)
        found.levels[part] = rounding.search(targets[part], first, first + group, energy, finely=False)
    return found


class _Rounding:
    """What is found so far. errors: of the columns that were rounded, [in, rows]."""

    def __init__(self, targets: Columns, factor: MomentsFactor, scheme: IntegerScheme) -> None:
        inputs, rows = targets.shape
        self.targets, self.factor, self.scheme = targets, factor, scheme
        self.group = scheme.group or inputs
        groups = inputs // self.group
        scales, zeros = np.empty((groups, rows), np.float32), np.zeros((groups, rows), np.float32)
        self.found = Levels(np.empty_like(targets), scales, zeros)
        self.errors = np.empty_like(targets)

    def search(
        self, aimed: Columns, first: int, last: int, weigh: NDArray[np.float32], finely: bool = True
    ) -> Columns:
        """Scales of columns first to last, which are one group. Gives their nearest levels too."""
        tile = Tile(aimed, 0, weigh[first:last, None], finely)
        number = first // self.group
        if self.scheme.zero_points:
            scales, zeros, levels = search_with_zero_points(tile, self.scheme)
            self.found.zero_points[number] = zeros
        else:
            scales, levels = search_symmetric(tile, self.scheme)
        self.found.scales[number] = scales
        return levels

    def round(self, aimed: Columns, first: int, last: int) -> None:
        """Columns first to last of one group, `aimed` beginning with them; each moves those after it."""
        number = first // self.group
        scales = self.found.scales[number]
        low, top = level_bounds(self.scheme, self.found.zero_points[number])
        inverse = 1 / scales
        for column in range(first, last):
            level = np.multiply(aimed[column - first], inverse, out=self.found.levels[column])
            np.clip(np.rint(level, out=level), low, top, out=level)
            error = np.subtract(self.targets[column], level * scales, out=self.errors[column])
            rest = self.factor.feedback[column, column + 1 : last]
            if len(rest):
                aimed[column - first + 1 : last - first] += rest[:, None] * error


def level_bounds(scheme: IntegerScheme, zeros: NDArray[np.float32]) -> tuple[Columns, Columns]:
    """Lowest and highest level of groups with these zero points. 8 bits without them end at -127."""
    lowest = scheme.lowest if scheme.zero_points or scheme.bits != 8 else -scheme.highest
    return np.float32(lowest) - zeros, np.float32(scheme.highest) - zeros


def product(left: NDArray[np.float32], right: NDArray[np.float32]) -> NDArray[np.float32]:
    """Matrix product by torch, whose threads a caller can hold to one."""
    found: NDArray[np.float32] = torch.mm(torch.from_numpy(left), torch.from_numpy(right)).numpy()
    return found
