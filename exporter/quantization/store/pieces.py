"""Rows of one matrix as the pieces of its file: packed, and where they go.

Not about how codes are found (`exporter.quantization.methods`) or how many rows come at once (`writer`).
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from exporter.errors import CheckpointError
from exporter.models.text.spec import WeightSpec
from exporter.quantization.methods.interface import FoundCodes
from exporter.quantization.store.layout import PACKED, SCALE, SCALE_DTYPES, SHAPE, ZERO_POINT
from exporter.quantization.store.packing import pack, pack_zero_points, rows_per_word
from exporter.quantization.store.safetensors_writer import Piece
from exporter.schemes import FloatScheme, IntegerScheme

_OUR_BUG = "this is a bug in gemma-export; report it"


def whole_row_step(scheme: IntegerScheme | FloatScheme, rows: int) -> int:
    """`rows`, or a few more: chunks of so many rows begin where a word of zero points does."""
    if not isinstance(scheme, IntegerScheme) or not scheme.zero_points:
        return rows
    return rows + -rows % rows_per_word(scheme.bits)


def float_pieces(
    weight: WeightSpec, scheme: FloatScheme, start: int, values: NDArray[np.float32]
) -> list[Piece]:
    """Values of the rows from start, rounded. Raises CheckpointError for what fp16 cannot hold."""
    inputs = weight.shape[1]
    if scheme.bits == 32:
        return [(weight.name, start * inputs * 4, values)]
    with np.errstate(over="ignore"):  # refused just below
        half = values.astype(np.float16)
    if not np.isfinite(half).all():
        raise CheckpointError(
            weight.name, "a weight is beyond fp16's 65504", "choose fp32 for it in the recipe"
        )
    return [(weight.name, start * inputs * 2, half)]


def integer_pieces(weight: WeightSpec, scheme: IntegerScheme, start: int, found: FoundCodes) -> list[Piece]:
    """Codes of the rows from start, a multiple of `whole_row_step`.

    Raises CheckpointError for codes, scales or zero points the scheme does not have.
    """
    _require_shapes(weight, scheme, found)
    kind = SCALE_DTYPES[scheme.scale_bits]
    scales = found.scales.astype(kind, copy=False)
    if not np.array_equal(scales, found.scales):
        raise CheckpointError(weight.name, f"has a scale that {scheme.name} cannot keep exactly", _OUR_BUG)
    groups = scheme.groups(weight.shape[1])
    try:
        packed = pack(found.codes, scheme.bits)
        pieces: list[Piece] = [
            (f"{weight.name}{PACKED}", start * packed.shape[1], packed),
            (f"{weight.name}{SCALE}", start * groups * kind.itemsize, scales),
            (f"{weight.name}{SHAPE}", 0, np.array(weight.shape, np.int64)),
        ]
        if found.zero_points is not None:
            words = pack_zero_points(found.zero_points, scheme.bits)
            offset = start * scheme.bits // 32 * groups * 4
            pieces.append((f"{weight.name}{ZERO_POINT}", offset, words))
    except ValueError as error:
        raise CheckpointError(weight.name, str(error), _OUR_BUG) from error
    return pieces


def _require_shapes(weight: WeightSpec, scheme: IntegerScheme, found: FoundCodes) -> None:
    rows, inputs = len(found.codes), weight.shape[1]
    scales = (rows, scheme.groups(inputs))
    zero_points = None if found.zero_points is None else found.zero_points.shape
    shapes = (found.codes.shape, found.scales.shape, zero_points)
    if shapes != ((rows, inputs), scales, scales if scheme.zero_points else None):
        raise CheckpointError(
            weight.name,
            f"was given codes, scales and zero points of shapes {shapes}, which are not {scheme.name}'s",
            _OUR_BUG,
        )
