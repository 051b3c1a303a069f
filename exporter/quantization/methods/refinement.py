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
BLOCK = 128  # columns whose gradients are brought up to date by one product


def refit_scales(targets: Columns, factor: MomentsFactor, found: Levels) -> None:
    """Give each row the scales that suit its levels best, by one system of equations of its groups."""
    inputs, rows = targets.shape
    groups = len(found.scales)
    width = inputs // groups
    aimed = product(factor.second, targets)
    aimed *= found.levels
    wanted = aimed.reshape(groups, width, rows).sum(axis=1)
    system = np.empty((groups, groups, rows), np.float32)
    for number in range(groups):
        part = slice(number * width, (number + 1) * width)
        moved = product(factor.second[:, part], found.levels[part])
        moved *= found.levels
        system[number] = moved.reshape(groups, width, rows).sum(axis=1)
    systems = np.ascontiguousarray(system.transpose(2, 0, 1))
    mean = np.trace(systems, axis1=1, axis2=2) / groups
    systems[:, np.arange(groups), np.arange(groups)] += (RIDGE * mean + np.float32(1e-20))[:, None]
    scales = np.linalg.solve(systems, wanted.T[:, :, None])[:, :, 0].T
    near = (scales > NARROWEST * found.scales) & (scales < WIDEST * found.scales)
    kept = np.where(near, scales, found.scales).clip(SMALLEST_FP16, LARGEST_FP16)
    kept = kept.astype(np.float16).astype(np.float32)
    better = _error(system, wanted, kept) < _error(system, wanted, found.scales)
    found.scales = np.where(better, kept, found.scales)


def _error(system: NDArray[np.float32], wanted: Columns, scales: Columns) -> NDArray[np.float32]:
    """The error of each row at these scales, but for what all scales have in common, [rows]."""
    errors: NDArray[np.float32] = np.einsum("ghr,gr,hr->r", system, scales, scales, optimize=True)
    errors -= 2 * np.einsum("gr,gr->r", wanted, scales)
    return errors


def improve_levels(targets: Columns, factor: MomentsFactor, scheme: IntegerScheme, found: Levels) -> None:
    """Once through all columns: the level that is best while all others stay, scales too."""
    inputs = len(targets)
    width = inputs // len(found.scales)
    error = targets - found.weights()
    pull = product(factor.second, error)  # half the gradient, [in, rows]
    energy = np.diagonal(factor.second)
    for start in range(0, inputs, BLOCK):
        stop = min(inputs, start + BLOCK)
        local = pull[start:stop].copy()
        moves = np.empty_like(local)
        for column in range(start, stop):
            scale, zeros = found.scales[column // width], found.zero_points[column // width]
            low, top = level_bounds(scheme, zeros)
            before = found.levels[column].copy()
            level = found.levels[column]
            level += local[column - start] / (energy[column] * scale)
            np.clip(np.rint(level, out=level), low, top, out=level)
            move = np.multiply(level - before, scale, out=moves[column - start])
            rest = factor.second[column, start:stop]
            local -= rest[:, None] * move
        if stop < inputs:
            pull[stop:] -= product(factor.second[stop:, start:stop], moves)


def output_errors(targets: Columns, factor: MomentsFactor, found: Levels) -> NDArray[np.float32]:
    """(w - ŵ) H (w - ŵ)ᵀ of each row, [rows]."""
    error = targets - found.weights()
    errors: NDArray[np.float32] = np.einsum("ir,ir->r", product(factor.second, error), error)
    return errors
