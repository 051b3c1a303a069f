"""`Calibrated`: codes of least error in a linear's outputs, over what entered it on calibration text.

    error feedback → (scales refitted → codes improved) as often as `rounds` says

Rows are worked on in tiles whose size depends on the matrix alone, each by one thread: the same bytes on
any number of processors. Not about any of the steps (`error_feedback`, `refinement`).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from exporter.errors import CheckpointError
from exporter.quantization.methods.error_feedback import (
    Levels,
    product,
    round_to_nearest,
    round_with_feedback,
)
from exporter.quantization.methods.interface import FoundCodes, InputMoments, MatrixRows, MethodRecord
from exporter.quantization.methods.moments_factor import MomentsFactor, factor_moments, share_of_noise
from exporter.quantization.methods.nearest import Nearest
from exporter.quantization.methods.refinement import improve_levels, output_errors, refit_scales
from exporter.schemes import IntegerScheme

# 1 refitted 8-bit codes too, 2 believed moments whole, 3 made nothing of a text's beginning, 4 summed in
# another order, whose last bits are others.
VERSION = 5
TILE_WEIGHTS = 1 << 22
MOST_ROWS = 1024
BYTE = 8  # bits
WIDEST_REFINED = (
    2048  # inputs: a round costs their square, and one is all that large models have the time for
)


@dataclass(frozen=True)
class Calibrated:
    """Satisfies `Method`. text: the calibration text's digest. damping: share of the mean energy that each
    input gets more; few_bits_damping: below 8 bits. rounds: of refinement, below 8 bits; codes of 8 gain
    nothing by it, and beyond WIDEST_REFINED inputs it is one."""

    text: str
    damping: float = 0.01
    few_bits_damping: float = 0.03
    rounds: int = 4

    @property
    def looks_at_products(self) -> bool:
        return True

    @property
    def record(self) -> MethodRecord:
        settings = {
            "text": self.text,
            "damping": self.damping,
            "few_bits_damping": self.few_bits_damping,
            "rounds": self.rounds,
        }
        return MethodRecord("error feedback", VERSION, settings)

    def tile(self, inputs: int) -> int:
        return row_tile(inputs)

    def find(self, rows: MatrixRows, scheme: IntegerScheme, moments: InputMoments | None) -> FoundCodes:
        if moments is None:  # a table that is only looked up
            return Nearest().find(rows, scheme, None)
        factor = self.factor(moments, scheme)
        try:
            rounds = self.rounds_of(scheme, len(moments.second))
            return calibrated_rows(rows.values(), scheme, factor, rounds)
        except OverflowError as error:
            raise CheckpointError(rows.name, str(error), "choose fp32 for it in the recipe") from error

    def rounds_of(self, scheme: IntegerScheme, inputs: int) -> int:
        if scheme.bits >= BYTE:
            return 0
        return self.rounds if inputs <= WIDEST_REFINED else min(self.rounds, 1)

    def factor(self, moments: InputMoments, scheme: IntegerScheme) -> MomentsFactor:
        """Shared by the matrices that are given the same inputs, and by all their rows. Below 8 bits, where
        errors are large enough to be fitted to a text, the moments are believed less."""
        inputs = len(moments.second)
        group, damping, noise = scheme.group or inputs, self.damping, 0.0
        opening = moments.opening if scheme.bits < BYTE else None
        if scheme.bits < BYTE:
            damping, noise = self.few_bits_damping, share_of_noise(inputs, moments.tokens)
        return moments.derived(
            (group, damping, noise, opening is None),
            lambda second: factor_moments(second, group, damping, noise, opening),
        )


def row_tile(inputs: int) -> int:
    """Rows worked on at once in a matrix of so many inputs."""
    return max(64, min(MOST_ROWS, TILE_WEIGHTS // inputs // 64 * 64))


def calibrated_rows(
    rows: NDArray[np.float32], scheme: IntegerScheme, factor: MomentsFactor, rounds: int
) -> FoundCodes:
    """Codes of [rows, in]. Raises OverflowError for weights no fp16 scale reaches."""
    count, inputs = rows.shape
    codes = np.empty((count, inputs), np.int8)
    scales = np.empty((count, scheme.groups(inputs)), np.float16)
    zero_points = np.empty(scales.shape, np.int8) if scheme.zero_points else None
    step = row_tile(inputs)
    width = inputs // scales.shape[1]
    groups = factor.order[::width] // width
    for start in range(0, count, step):
        tile = slice(start, min(count, start + step))
        found = _levels(np.ascontiguousarray(rows[tile, factor.order].T), scheme, factor, rounds)
        levels = found.levels
        if zero_points is not None:
            levels = levels + np.repeat(found.zero_points, width, axis=0)
            zero_points[tile, groups] = found.zero_points.T
        codes[tile, factor.order] = levels.T
        scales[tile, groups] = found.scales.T
    return FoundCodes(codes, scales, zero_points)


def _levels(
    targets: NDArray[np.float32], scheme: IntegerScheme, factor: MomentsFactor, rounds: int
) -> Levels:
    """[in, rows]. Each row's is the better of what feedback comes to and the nearest codes: few rows lose
    by feedback, and none has to."""
    found = round_with_feedback(targets, factor, scheme)
    if rounds:
        aimed = product(factor.second, targets)
        for _ in range(rounds):
            refit_scales(aimed, factor, found)
            errors = improve_levels(targets, factor, scheme, found)
    else:
        errors = output_errors(targets, factor, found)
    plain = round_to_nearest(targets, factor, scheme)
    worse = output_errors(targets, factor, plain) < errors
    for better, kept in zip(plain.arrays, found.arrays, strict=True):
        kept[:, worse] = better[:, worse]
    return found
