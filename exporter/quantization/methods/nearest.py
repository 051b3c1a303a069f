"""Finding codes and scales: rows of floats in, packed codes and positive fp16 scales out.

Not about which scheme (`exporter.planning`) or where the result is stored (`store.writer`). numpy works on
tiles that stay in the processor's cache and lets other threads run meanwhile, so callers quantise
row ranges side by side; beside the result a call needs a few tiles of memory.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from exporter.quantization.store.packing import Packed, pack
from exporter.schemes import IntegerScheme

QUANTIZER_VERSION = 4  # part of a checkpoint's record: codes of two versions are never mixed
TILE = 65536  # weights worked on at once: 256 KiB of float32, a few of them fit the cache
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
# Of the 8-bit search, as shares of absmax / 127: few weights are worth cutting off.
BYTE_FACTORS = (0.8, 0.86, 0.9, 0.94, 0.97, 1.0)

Scales = NDArray[np.float16]  # [rows, groups]


def quantize_rows(rows: NDArray[np.float32], scheme: IntegerScheme) -> tuple[Packed, Scales]:
    """Quantise finite [rows, in] symmetrically: packed codes and positive fp16 scales [rows, groups].

    The scale is that of least error Σ|w|(w - code·scale)² a search finds, never worse than absmax / 7
    or absmax / 127; codes are the nearest ones for it. 8-bit codes stay within ±127, as LiteRT wants
    them. Raises OverflowError for weights no fp16 scale reaches.
    """
    count, inputs = rows.shape
    codes = np.empty((count, inputs), np.int8)
    scales = np.empty((count, scheme.groups(inputs)), np.float16)
    step = max(1, TILE // inputs)
    for start in range(0, count, step):
        stop = min(count, start + step)
        if scheme.group is None:
            tile, axis = rows[start:stop], 1
            found, tile_codes = _quantize(tile, axis, scheme.bits)
            scales[start:stop, 0], codes[start:stop] = found, tile_codes
        else:
            # Groups along the first axis: sums over a group then run through whole rows of groups.
            tile = np.ascontiguousarray(rows[start:stop].reshape(-1, scheme.group).T)
            found, tile_codes = _quantize(tile, 0, scheme.bits)
            scales[start:stop] = found.reshape(stop - start, -1)
            codes[start:stop] = tile_codes.T.reshape(stop - start, inputs)
    return pack(codes, scheme.bits), scales


def _quantize(tile: NDArray[np.float32], axis: int, bits: int) -> tuple[Scales, NDArray[np.float32]]:
    """Scales [groups] and codes (as float32, of the tile's shape) of groups along `axis`."""
    largest = np.maximum(tile.max(axis), -tile.min(axis))
    top = 2 ** (bits - 1) - 1
    plain = largest / np.float32(top)
    if plain.size and plain.max() > LARGEST_FP16:
        raise OverflowError(
            f"a weight of magnitude {largest.max()} needs a scale beyond fp16's {LARGEST_FP16}"
        )
    low = -top if bits == 8 else -top - 1
    factors = BYTE_FACTORS if bits == 8 else GROUP_FACTORS if axis == 0 else ROW_FACTORS
    chosen = _search(tile, axis, plain, factors, low, top)
    chosen = np.where(largest == 0, ZERO_GROUP_SCALE, chosen)
    exact = chosen.astype(np.float32)
    return chosen, _nearest_codes(tile, axis, exact, low, top, np.empty_like(tile))


def _search(
    tile: NDArray[np.float32],
    axis: int,
    plain: NDArray[np.float32],
    factors: Sequence[float],
    low: int,
    top: int,
) -> Scales:
    """For each starting scale plain · factor: nearest codes q, then the scale that suits them best.

    That is s = Σ|w|wq / Σ|w|q². The error Σ|w|(w - sq)² is Σ|w|w² - 2sΣ|w|wq + s²Σ|w|q²; the first
    term is the same for all.
    """
    sums = "gn,gn->n" if axis == 0 else "ng,ng->n"
    least = np.full(plain.shape, np.inf, np.float32)
    chosen = np.full(plain.shape, SMALLEST_FP16, np.float16)
    importance = np.abs(tile)
    weighted = tile * importance
    codes = np.empty_like(tile)
    for factor in factors:
        # As fp16, so that factor 1 starts from the scale it must not lose to.
        start = _fp16(plain * np.float32(factor)).astype(np.float32)
        _nearest_codes(tile, axis, start, low, top, codes)
        products = np.einsum(sums, weighted, codes)
        squares = np.einsum(sums, importance, np.square(codes, out=codes))
        with np.errstate(invalid="ignore", divide="ignore"):  # 0 / 0 in groups of zeros
            scale = _fp16(products / squares)
        exact = scale.astype(np.float32)
        error = exact * (exact * squares - 2 * products)
        better = error < least  # False for the NaN of a group of zeros
        np.copyto(least, error, where=better)
        np.copyto(chosen, scale, where=better)
    return chosen


def _nearest_codes(
    tile: NDArray[np.float32],
    axis: int,
    scales: NDArray[np.float32],
    low: int,
    top: int,
    out: NDArray[np.float32],
) -> NDArray[np.float32]:
    """Round tile / scales to codes low to top, into `out`."""
    np.divide(tile, scales[None] if axis == 0 else scales[:, None], out=out)
    np.rint(out, out=out)
    return np.clip(out, np.float32(low), np.float32(top), out=out)


def _fp16(scales: NDArray[np.float32]) -> Scales:
    """The nearest positive finite fp16."""
    return scales.clip(SMALLEST_FP16, LARGEST_FP16).astype(np.float16)
