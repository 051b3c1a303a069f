"""`Nearest`: the scale of least weighted error a search finds, and the codes nearest to the weights.

Knows nothing of a linear's inputs. numpy works on tiles that stay in the processor's cache and lets
other threads run meanwhile, so callers quantise row ranges side by side; beside the result a call needs
a few tiles of memory. Not about the search itself (`scale_search`).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from exporter.errors import CheckpointError
from exporter.quantization.methods.interface import FoundCodes, InputMoments, MatrixRows, MethodRecord
from exporter.quantization.methods.scale_search import Tile, search_symmetric, search_with_zero_points
from exporter.schemes import IntegerScheme

QUANTIZER_VERSION = 4  # part of a checkpoint's record: codes of two versions are never mixed
TILE = 65536  # weights worked on at once: 256 KiB of float32, a few of them fit the cache


@dataclass(frozen=True)
class Nearest:
    """Satisfies `Method`."""

    @property
    def looks_at_products(self) -> bool:
        return False

    @property
    def record(self) -> MethodRecord:
        return MethodRecord("nearest", QUANTIZER_VERSION, {})

    def tile(self, inputs: int) -> int:
        return 1

    def find(self, rows: MatrixRows, scheme: IntegerScheme, moments: InputMoments | None) -> FoundCodes:
        try:
            return quantize_rows(rows.values(), scheme)
        except OverflowError as error:
            raise CheckpointError(rows.name, str(error), "choose fp32 for it in the recipe") from error


def quantize_rows(
    rows: NDArray[np.float32], scheme: IntegerScheme, importance: NDArray[np.float32] | None = None
) -> FoundCodes:
    """Quantise finite [rows, in]; scales are positive fp16.

    importance: what a squared error in a column counts, [in]; None for |w|, each weight's own. The scale is
    that of least error Σ|w|(w - (code - zero)·scale)² a search finds, never worse than
    absmax / 1, 7 or 127 for a symmetric scheme, or than (max - min) / 3, 15 or 255 for one with zero
    points; codes are the nearest ones for it. Symmetric 8-bit codes stay within ±127, as LiteRT wants
    them. Raises OverflowError for weights no fp16 scale reaches.
    """
    count, inputs = rows.shape
    codes = np.empty((count, inputs), np.int8)
    scales = np.empty((count, scheme.groups(inputs)), np.float16)
    zero_points = np.empty(scales.shape, np.int8) if scheme.zero_points else None
    step = max(1, TILE // inputs)
    for start in range(0, count, step):
        stop = min(count, start + step)
        tile = _tile(rows[start:stop], scheme, importance)
        if zero_points is None:
            found, levels = search_symmetric(tile, scheme)
        else:
            found, zeros, levels = search_with_zero_points(tile, scheme)
            zero_points[start:stop] = zeros.reshape(stop - start, -1)
            levels += tile.spread(zeros)
        scales[start:stop] = found.reshape(stop - start, -1)
        codes[start:stop] = (levels if tile.axis == 1 else levels.T).reshape(stop - start, inputs)
    return FoundCodes(codes, scales, zero_points)


def _tile(rows: NDArray[np.float32], scheme: IntegerScheme, importance: NDArray[np.float32] | None) -> Tile:
    if scheme.group is None:
        return Tile(rows, 1, importance)
    # Groups along the first axis: sums over a group then run through whole rows of groups.
    grouped = np.ascontiguousarray(rows.reshape(-1, scheme.group).T)
    if importance is None:
        return Tile(grouped, 0)
    return Tile(grouped, 0, np.tile(importance.reshape(-1, scheme.group).T, len(rows)))
