"""A chunk of rows of one matrix, made ready to be written: quantised, or taken over from its source.

Not about where a chunk goes or how many there are (`store.writer`), or how codes are found (`nearest`).
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from exporter.checkpoints.interface import CheckpointSource, Codes, CodeScales
from exporter.errors import CheckpointError
from exporter.models.text.spec import WeightSpec
from exporter.quantization.methods.nearest import ZERO_GROUP_SCALE, quantize_rows
from exporter.quantization.store.checkpoint import SCALE_DTYPES
from exporter.quantization.store.packing import Packed, pack
from exporter.schemes import FloatScheme, IntegerScheme, Scheme

Piece = tuple[str, int, NDArray[Any]]  # tensor, byte offset in it, data


def quantised_chunk(
    source: CheckpointSource, weight: WeightSpec, scheme: Scheme, start: int, stop: int
) -> list[Piece]:
    """Rows start to stop in a scheme, found from their values. Raises CheckpointError."""
    name, inputs = weight.name, weight.shape[1]
    values = source.rows(name, start, stop)
    match scheme:
        case IntegerScheme():
            try:
                packed, scales = quantize_rows(values, scheme)
            except OverflowError as error:
                raise CheckpointError(name, str(error), "choose fp32 for it in the recipe") from error
            return _integers(weight, scheme, start, packed, scales)
        case FloatScheme(bits=16):
            with np.errstate(over="ignore"):  # refused just below
                half = values.astype(np.float16)
            if not np.isfinite(half).all():
                raise CheckpointError(
                    name, "a weight is beyond fp16's 65504", "choose fp32 for it in the recipe"
                )
            return [(name, start * inputs * 2, half)]
        case FloatScheme():
            return [(name, start * inputs * 4, values)]


def taken_over_chunk(
    source: CheckpointSource, weight: WeightSpec, scheme: Scheme, start: int, stop: int
) -> list[Piece]:
    """Rows start to stop as their source holds them, whose codes are of this scheme.

    Raises CheckpointError for scales the scheme cannot keep exactly.
    """
    assert isinstance(scheme, IntegerScheme)  # the writer asks for nothing else
    codes, scales = _without_zero_scales(*source.codes(weight.name, start, stop))
    return _integers(weight, scheme, start, pack(codes, scheme.bits), scales)


def _without_zero_scales(codes: Codes, scales: CodeScales) -> tuple[Codes, CodeScales]:
    """The same values with no scale of 0, which XNNPACK refuses: such a group gets codes of 0 instead."""
    empty = scales == 0
    if not empty.any():
        return codes, scales
    kept = np.repeat(~empty, codes.shape[1] // scales.shape[1], axis=1)
    return codes * kept, np.where(empty, scales.dtype.type(ZERO_GROUP_SCALE), scales)


def _integers(
    weight: WeightSpec, scheme: IntegerScheme, start: int, packed: Packed, scales: CodeScales
) -> list[Piece]:
    kind = SCALE_DTYPES[scheme.scale_bits]
    stored = scales.astype(kind, copy=False)
    if not np.array_equal(stored, scales):
        raise CheckpointError(
            weight.name,
            f"has a scale that {scheme.name} cannot keep exactly",
            "this is a bug in gemma-export; report it",
        )
    row = scheme.groups(weight.shape[1]) * kind.itemsize
    return [
        (f"{weight.name}_packed", start * packed.shape[1], packed),
        (f"{weight.name}_scale", start * row, stored),
        (f"{weight.name}_shape", 0, np.array(weight.shape, np.int64)),
    ]
