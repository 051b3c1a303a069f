"""What is left to gain on found levels: scales that suit a row's groups together, and codes one by one.

Both lower (w - ŵ) H (w - ŵ)ᵀ and never raise it. Not about finding levels (`error_feedback`).
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from exporter.quantization.methods.error_feedback import Columns, Levels, level_bounds, product
from exporter.quantization.methods.moments_factor import MomentsFactor
from exporter.quantization.methods.scale_search import LARGEST_FP16, SMALLEST_FP16
from exporter.schemes import IntegerScheme

# A scale outside half to twice of what was searched stands for a system without a good answer.
NARROWEST, WIDEST = np.float32(0.5), np.float32(2.0)
RIDGE = np.float32(1e-6)
BLOCK = 128  # columns whose gradients are one product
CACHED = 1 << 17  # numbers that are summed before a processor's cache has lost them


def refit_scales(aimed: Columns, factor: MomentsFactor, found: Levels) -> None:
    """Give each row the scales that suit its levels best, by one system of equations of its groups.

    aimed: H wᵀ, [in, rows], which is the same in every round.
    """
    wanted = _by_group(aimed, found.levels, len(found.scales))
    system = _system(factor.second, found)
    groups = len(system)
    systems = np.ascontiguousarray(system.transpose(2, 0, 1))
    mean = np.trace(systems, axis1=1, axis2=2) / groups
    systems[:, np.arange(groups), np.arange(groups)] += (RIDGE * mean + np.float32(1e-20))[:, None]
    scales = np.linalg.solve(systems, wanted.T[:, :, None])[:, :, 0].T
    near = (scales > NARROWEST * found.scales) & (scales < WIDEST * found.scales)
    kept = np.where(near, scales, found.scales).clip(SMALLEST_FP16, LARGEST_FP16)
    kept = kept.astype(np.float16).astype(np.float32)
    better = _error(system, wanted, kept) < _error(system, wanted, found.scales)
    found.scales = np.where(better, kept, found.scales)


def _system(second: NDArray[np.float32], found: Levels) -> NDArray[np.float32]:
    """What levels of one group and of another come to together, Σ l_i H_ij l_j, [groups, groups, rows].

    It is symmetric, and half of it is computed, in parts that stay in a processor's cache.
    """
    inputs, rows = found.levels.shape
    groups = len(found.scales)
    width = inputs // groups
    several = max(1, CACHED // (width * rows))
    system = np.empty((groups, groups, rows), np.float32)
    for number in range(groups):
        columns = slice(number * width, (number + 1) * width)
        for first in range(number, groups, several):
            last = min(groups, first + several)
            others = slice(first * width, last * width)
            moved = product(second[others, columns], found.levels[columns])
            system[number, first:last] = _by_group(moved, found.levels[others], last - first)
        system[number + 1 :, number] = system[number, number + 1 :]
    return system


def _by_group(left: Columns, right: Columns, groups: int) -> Columns:
    """Sums of products over the columns of each group, [groups, rows]."""
    rows = left.shape[1]
    sides = (side.reshape(groups, -1, rows) for side in (left, right))
    sums: Columns = np.einsum("gwr,gwr->gr", *sides)
    return sums


def _error(system: NDArray[np.float32], wanted: Columns, scales: Columns) -> NDArray[np.float32]:
    """The error of each row at these scales, but for what all scales have in common, [rows]."""
    errors: NDArray[np.float32] = np.einsum("ghr,gr,hr->r", system, scales, scales, optimize=True)
    errors -= 2 * np.einsum("gr,gr->r", wanted, scales)
    return errors


def improve_levels(
    targets: Columns, factor: MomentsFactor, scheme: IntegerScheme, found: Levels
) -> NDArray[np.float32]:
    """Once through all columns: the level that is best while all others stay, scales too.

    Gives `output_errors` of what comes of it, which are known by then.
    """
    inputs, rows = targets.shape
    width = inputs // len(found.scales)
    error = targets - found.weights()
    energy = np.diagonal(factor.second)
    errors = np.zeros(rows, np.float32)
    for start in range(0, inputs, BLOCK):
        stop = min(inputs, start + BLOCK)
        block = factor.second[start:stop]
        # Half the gradient where the blocks before went: of those, which stay, and of the rest.
        settled = product(block[:, :start], error[:start])
        pull = settled + product(block[:, start:], error[start:])
        for column in range(start, stop):
            scale, zeros = found.scales[column // width], found.zero_points[column // width]
            low, top = level_bounds(scheme, zeros)
            before = found.levels[column].copy()
            level = found.levels[column]
            level += pull[column - start] / (energy[column] * scale)
            np.clip(np.rint(level, out=level), low, top, out=level)
            move = (level - before) * scale
            error[column] -= move
            rest = factor.second[column, column + 1 : stop]
            pull[column - start + 1 :] -= rest[:, None] * move
        errors += _with_those_before(block[:, start:stop], settled, error[start:stop])
    return errors


def output_errors(targets: Columns, factor: MomentsFactor, found: Levels) -> NDArray[np.float32]:
    """(w - ŵ) H (w - ŵ)ᵀ of each row, [rows], from half of H, which is symmetric."""
    error = targets - found.weights()
    inputs, rows = error.shape
    errors = np.zeros(rows, np.float32)
    for start in range(0, inputs, BLOCK):
        stop = min(inputs, start + BLOCK)
        block = factor.second[start:stop]
        before = product(block[:, :start], error[:start])
        errors += _with_those_before(block[:, start:stop], before, error[start:stop])
    return errors


def _with_those_before(second: NDArray[np.float32], before: Columns, error: Columns) -> NDArray[np.float32]:
    """What a block adds to the errors of rows, [rows]: by itself, and twice with the columns before it.

    second: H of the block alone. before: H of its columns and of those before, times their errors.
    """
    pull = product(second, error)
    pull += 2 * before
    added: NDArray[np.float32] = np.einsum("ir,ir->r", pull, error)
    return added
