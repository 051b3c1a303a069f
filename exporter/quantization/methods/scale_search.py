"""Scales, and zero points, of least weighted error, found group by group.

Works on levels: a level is code - zero point, so weight = level * scale with and without zero points.
Not about rows, matrices or storing.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from exporter.schemes import IntegerScheme

# Scale of an all-zero group: any positive number gives zeros; a normal fp16 one keeps runtimes that
# refuse zero or subnormal scales (XNNPACK) content.
ZERO_GROUP_SCALE = np.float16(2.0**-14)
SMALLEST_FP16, LARGEST_FP16 = 2.0**-24, 65504.0
# Starting points of the 4-bit search, as shares of absmax / 7. Within 0.6 % of the squared error of
# 43 starting points; long rows have outliers further out, where smaller scales pay.
# Why |w| weighs the error: mean KL of Gemma 3 270M's linears at int4-g32 was 0.49 for absmax / 7, 0.48
# unweighted (large weights are sacrificed), 0.41 for w², 0.36 for |w|.
GROUP_FACTORS = (0.7, 0.78, 0.84, 0.89, 0.95, 1.0)
ROW_FACTORS = (0.4, 0.48, 0.55, 0.62, *GROUP_FACTORS)
# Tried as well where a tile is searched finely, as error feedback does: 1 to 2 % less error of outputs.
BETWEEN_FACTORS = (0.6, 0.65, 0.74, 0.81, 0.865, 0.92, 0.975, 1.03)
# Of the 8-bit search, as shares of absmax / 127: few weights are worth cutting off.
BYTE_FACTORS = (0.8, 0.86, 0.9, 0.94, 0.97, 1.0)
# Of the 2-bit search, as shares of absmax / 1 or (max - min) / 3: most of a bell lies within half of it.
# Within 0.3 % of the error of 60 starting points on normal, Laplace, t and skewed weights.
PAIR_FACTORS = (0.22, 0.28, 0.34, 0.4, 0.47, 0.54, 0.62, 0.7, 0.8, 0.9, 1.0)
# Zero points tried, by bits, as steps from that of the whole range. Within 0.6 % of the error of every
# one on symmetric weights and 1.5 % on skewed ones; of 256 of them the neighbour is as good.
SHIFTS = {2: (0, -1, 1), 4: (0, -1, 1), 8: (0,)}

Scales = NDArray[np.float16]  # [groups]
FloatRows = NDArray[np.float32]
Bound = np.float32 | FloatRows  # a lowest or highest level: one for all, or [groups]


@dataclass(frozen=True)
class Tile:
    """Groups of weights side by side. values: [group, groups] for axis 0, [groups, group] for axis 1.

    importance: what a squared error counts, of the same shape or broadcast to it; |w| where it is None.
    finely: more starting points, for a caller whose time goes elsewhere.
    """

    values: FloatRows
    axis: int
    importance: FloatRows | None = None
    finely: bool = False

    def spread(self, by_group: FloatRows) -> FloatRows:
        """A number for each group, [groups], against `values`."""
        return by_group[None] if self.axis == 0 else by_group[:, None]

    def bound(self, levels: Bound) -> Bound:
        """The same for a bound, which may be one for all groups."""
        return levels if isinstance(levels, np.float32) else self.spread(levels)


def search_symmetric(tile: Tile, scheme: IntegerScheme) -> tuple[Scales, FloatRows]:
    """Scales [groups] and codes (as float32, of the tile's shape). Raises OverflowError."""
    largest = np.maximum(tile.values.max(tile.axis), -tile.values.min(tile.axis))
    top = scheme.highest
    plain = largest / np.float32(top)
    _require_reach(plain, largest)
    low = np.float32(-top if scheme.bits == 8 else scheme.lowest)
    chosen, _ = _search(tile, plain, _factors(tile, scheme), low, np.float32(top))
    chosen = np.where(largest == 0, ZERO_GROUP_SCALE, chosen)
    codes = _nearest_levels(tile, chosen.astype(np.float32), low, np.float32(top))
    return chosen, codes


def search_with_zero_points(tile: Tile, scheme: IntegerScheme) -> tuple[Scales, FloatRows, FloatRows]:
    """Scales [groups], zero points [groups] and levels of the tile's shape, both as float32.

    Starts from the zero point that puts the range from min to max, and 0, onto the codes, and tries its
    neighbours. Raises OverflowError.
    """
    lowest = np.minimum(tile.values.min(tile.axis), np.float32(0))
    highest = np.maximum(tile.values.max(tile.axis), np.float32(0))
    largest = np.maximum(highest, -lowest)
    steps = np.float32(scheme.highest - scheme.lowest)
    plain = highest / steps - lowest / steps
    _require_reach(plain, largest)
    low, top = np.float32(scheme.lowest), np.float32(scheme.highest)
    middle = np.rint(low - lowest / _fp16(plain).astype(np.float32)).clip(low, top)
    chosen = np.full(plain.shape, SMALLEST_FP16, np.float16)
    zeros, least = middle, np.full(plain.shape, np.inf, np.float32)
    for shift in SHIFTS[scheme.bits]:
        zero = (middle + np.float32(shift)).clip(low, top)
        scale, error = _search(tile, plain, _factors(tile, scheme), low - zero, top - zero)
        better = error < least
        least = np.where(better, error, least)
        chosen, zeros = np.where(better, scale, chosen), np.where(better, zero, zeros)
    chosen = np.where(largest == 0, ZERO_GROUP_SCALE, chosen)
    zeros = np.where(largest == 0, np.float32(0), zeros)
    levels = _nearest_levels(tile, chosen.astype(np.float32), low - zeros, top - zeros)
    return chosen, zeros, levels


def _require_reach(plain: FloatRows, largest: FloatRows) -> None:
    if plain.size and plain.max() > LARGEST_FP16:
        raise OverflowError(
            f"a weight of magnitude {largest.max()} needs a scale beyond fp16's {LARGEST_FP16}"
        )


def _factors(tile: Tile, scheme: IntegerScheme) -> Sequence[float]:
    if scheme.bits == 8:
        return BYTE_FACTORS
    if scheme.bits == 2:
        return PAIR_FACTORS
    factors = ROW_FACTORS if scheme.group is None else GROUP_FACTORS
    return (*factors, *BETWEEN_FACTORS) if tile.finely else factors


def _search(
    tile: Tile, plain: FloatRows, factors: Sequence[float], low: Bound, top: Bound
) -> tuple[Scales, FloatRows]:
    """For each starting scale plain · factor: nearest levels q, then the scale that suits them best.

    That is s = Σmwq / Σmq², m being what an error counts. The error Σm(w - sq)² is Σmw² - 2sΣmwq + s²Σmq²;
    the first term is the same for all. Gives the best scales, and their errors without that term.
    """
    sums = "gn,gn->n" if tile.axis == 0 else "ng,ng->n"
    least = np.full(plain.shape, np.inf, np.float32)
    chosen = np.full(plain.shape, SMALLEST_FP16, np.float16)
    given = tile.importance
    importance = np.abs(tile.values) if given is None else np.broadcast_to(given, tile.values.shape)
    weighted = tile.values * importance
    levels = np.empty_like(tile.values)
    for factor in factors:
        # As fp16, so that factor 1 starts from the scale it must not lose to.
        start = _fp16(plain * np.float32(factor)).astype(np.float32)
        _nearest_levels(tile, start, low, top, levels)
        products = np.einsum(sums, weighted, levels)
        squares = np.einsum(sums, importance, np.square(levels, out=levels))
        with np.errstate(invalid="ignore", divide="ignore"):  # 0 / 0 in groups of zeros
            scale = _fp16(products / squares)
        exact = scale.astype(np.float32)
        error = exact * (exact * squares - 2 * products)
        better = error < least  # False for the NaN of a group of zeros
        np.copyto(least, error, where=better)
        np.copyto(chosen, scale, where=better)
    return chosen, least


def _nearest_levels(
    tile: Tile, scales: FloatRows, low: Bound, top: Bound, out: FloatRows | None = None
) -> FloatRows:
    """Round values / scales to levels low to top, into `out`."""
    found = np.divide(tile.values, tile.spread(scales), out=out)
    np.rint(found, out=found)
    return np.clip(found, tile.bound(low), tile.bound(top), out=found)


def _fp16(scales: NDArray[np.float32]) -> Scales:
    """The nearest positive finite fp16."""
    return scales.clip(SMALLEST_FP16, LARGEST_FP16).astype(np.float16)
