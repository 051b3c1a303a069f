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
    inputs, rows = targets.shape
    group = inputs if scheme.group is None else scheme.group
    found = Levels(
        np.empty_like(targets),
        np.empty((inputs // group, rows), np.float32),
        np.zeros((inputs // group, rows), np.float32),
    )
    errors = np.empty_like(targets)
    by_row = scheme.group is None
    if by_row:  # one scale for all columns: found before the first is rounded
        _search(targets, factor, 0, inputs, scheme, found)
    block = BLOCK if by_row else max(BLOCK // group, 1) * group
    for start in range(0, inputs, block):
        stop = min(inputs, start + block)
        aimed = targets[start:stop].copy()
        if start:
            aimed += product(factor.feedback[:start, start:stop].T, errors[:start])
        step = stop - start if by_row else group
        for first in range(start, stop, step):
            last = min(stop, first + step)
            if not by_row:
                _search(aimed[first - start : last - start], factor, first, last, scheme, found)
            _round_group(
                aimed[first - start :], targets, factor, (first, last, stop), scheme, found, errors
            )
    return found


def round_to_nearest(targets: Columns, factor: MomentsFactor, scheme: IntegerScheme) -> Levels:
    """The same without feedback: every column as if the others were not rounded."""
    inputs, rows = targets.shape
    group = inputs if scheme.group is None else scheme.group
    shape = (inputs // group, rows)
    found = Levels(np.empty_like(targets), np.empty(shape, np.float32), np.zeros(shape, np.float32))
    energy = np.diagonal(factor.second)
    for number in range(len(found.scales)):
        part = slice(number * group, (number + 1) * group)
        tile = Tile(targets[part], 0, energy[part, None])
        if scheme.zero_points:
            scales, found.zero_points[number], found.levels[part] = search_with_zero_points(tile, scheme)
        else:
            scales, found.levels[part] = search_symmetric(tile, scheme)
        found.scales[number] = scales
    return found


def _search(
    aimed: Columns, factor: MomentsFactor, first: int, last: int, scheme: IntegerScheme, found: Levels
) -> None:
    """The scales of columns first to last, which are one group."""
    weigh = factor.conditional if scheme.group else np.diagonal(factor.second)
    tile = Tile(aimed, 0, weigh[first:last, None])
    number = first // (last - first)
    if scheme.zero_points:
        scales, zero_points, _ = search_with_zero_points(tile, scheme)
        found.zero_points[number] = zero_points
    else:
        scales, _ = search_symmetric(tile, scheme)
    found.scales[number] = scales


def _round_group(
    aimed: Columns,
    targets: Columns,
    factor: MomentsFactor,
    span: tuple[int, int, int],
    scheme: IntegerScheme,
    found: Levels,
    errors: Columns,
) -> None:
    """Round columns first to last; those up to stop, which `aimed` begins at first with, are moved."""
    first, last, stop = span
    number = 0 if scheme.group is None else first // scheme.group
    scales, zeros = found.scales[number], found.zero_points[number]
    low, top = level_bounds(scheme, zeros)
    inverse = 1 / scales
    for column in range(first, last):
        level = np.multiply(aimed[column - first], inverse, out=found.levels[column])
        np.clip(np.rint(level, out=level), low, top, out=level)
        error = np.subtract(targets[column], level * scales, out=errors[column])
        rest = factor.feedback[column, column + 1 : last]
        if len(rest):
            aimed[column - first + 1 : last - first] += rest[:, None] * error
    if last < stop:
        aimed[last - first :] += product(factor.feedback[first:last, last:stop].T, errors[first:last])


def level_bounds(scheme: IntegerScheme, zeros: NDArray[np.float32]) -> tuple[Columns, Columns]:
    """Lowest and highest level of groups with these zero points. 8 bits without them end at -127."""
    lowest = scheme.lowest if scheme.zero_points or scheme.bits != 8 else -scheme.highest
    return np.float32(lowest) - zeros, np.float32(scheme.highest) - zeros


def product(left: NDArray[np.float32], right: NDArray[np.float32]) -> NDArray[np.float32]:
    """Matrix product by torch, whose threads a caller can hold to one."""
    found: NDArray[np.float32] = torch.mm(torch.from_numpy(left), torch.from_numpy(right)).numpy()
    return found
