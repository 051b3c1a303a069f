"""Column factors of least predicted error, for matrices whose rows have one scale each.

    error ~ Σ_rows (largest |w / c| of the row)² · Σ_columns energy · c²

The first is what the row's scale makes of a step, the second what reaches the output of an error of one
step in each column. In log c it is convex; matrices that share an input count alike. Gradient descent with
a step for each column (Adam, Kingma and Ba 2015), the largest of a row being a soft one. An energy is what
the columns after it cannot make up for by error feedback, flatter than the mean square of the input: its
power of 3/4. Not about matrices in groups, nor about the grid factors are rounded to (`equalization`).
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from exporter.checkpoints.interface import Vector

MOST_ROWS = 1024  # of a matrix that are looked at, evenly spaced
BLOCK_WEIGHTS = 1 << 18  # that are worked on at once: what a processor's cache holds
STEPS, SHARP_FROM = 60, 36
STEP, LAST_STEP = 0.08, 0.01  # of log c
SQUARINGS = 3  # the soft largest of w² is its 8-norm, of the last steps its 16-norm
DAMPING = 0.01  # share of the mean energy that every input has more, as error feedback has it
FLATTER = 0.75
SMALLEST = np.float32(1e-30)


def fitted_columns(
    matrices: Sequence[NDArray[np.float32]], inputs: Vector, shared: NDArray[np.intp], start: Vector
) -> Vector:
    """log2 of the factor of each of `start`'s, which are where the descent begins.

    matrices: rows of those with one input, [rows, in] each. inputs: its RMS, [in]. shared: which factor
    a column has, [in].
    """
    squares = [np.maximum(np.square(rows), SMALLEST) for rows in matrices]
    energy = np.square(inputs)
    energy = np.power(energy + np.float32(DAMPING) * energy.mean() + SMALLEST, np.float32(FLATTER))
    logs = np.log(start)
    mean, spread = np.zeros_like(logs), np.zeros_like(logs)
    for step in range(1, STEPS + 1):
        squared = np.exp(2 * logs)[shared]
        squarings = SQUARINGS + (step > SHARP_FROM)
        steps = sum(_shares_of_largest(each, squared, squarings) for each in squares) / len(squares)
        reaching = energy * squared
        gradient = _summed(reaching / reaching.sum() - steps, shared, len(logs))
        mean = np.float32(0.9) * mean + np.float32(0.1) * gradient
        spread = np.float32(0.98) * spread + np.float32(0.02) * np.square(gradient)
        rate = np.float32((STEP + (LAST_STEP - STEP) * step / STEPS) / (1 - 0.9**step))
        logs = logs - rate * mean / (np.sqrt(spread / np.float32(1 - 0.98**step)) + np.float32(1e-9))
    found: Vector = (logs / np.float32(np.log(2))).astype(np.float32)
    return found


def _shares_of_largest(squares: NDArray[np.float32], squared: Vector, squarings: int) -> Vector:
    """What each column has in the sum of the rows' largest squares, [in]; they add up to 1."""
    total = np.zeros(squares.shape[1], np.float32)
    inverse, whole = 1 / squared, np.float32(0)
    block = max(1, BLOCK_WEIGHTS // squares.shape[1])
    for start in range(0, len(squares), block):
        rows = squares[start : start + block] * inverse
        largest = rows.max(axis=1)
        rows /= largest[:, None]
        for _ in range(squarings):
            np.square(rows, out=rows)
        powers = rows.sum(axis=1)
        soft = largest * np.power(powers, np.float32(0.5**squarings))
        total += (soft / powers) @ rows
        whole += soft.sum()
    return total / whole


def _summed(values: Vector, shared: NDArray[np.intp], count: int) -> Vector:
    return np.bincount(shared, values, count).astype(np.float32)
