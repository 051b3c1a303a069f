"""Integer codes and zero points as bytes, in the one layout of the quantised checkpoint.

Offset binary, first element in the low bits: int8 is one byte `code + 128`, int4 is two elements a
byte, `code + 8` each, int2 four, `code + 2` each. Read as little-endian int32 this is compressed-tensors'
"pack-quantized"; read as bytes, codes of 4 and 8 bits are ONNX MatMulNBits' B; with the top bit of every
code flipped (`as_twos_complement`) they are what LiteRT and Core ML store. Zero points are packed the
same way, but down the rows of a group instead of along a row.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from exporter.checkpoints.interface import Codes
from exporter.quantization.methods.interface import ZeroPoints

Packed = NDArray[np.uint8]  # [rows, inputs * bits / 8]
PackedZeroPoints = NDArray[np.int32]  # [rows * bits / 32, rounded up; groups]

TOP_BITS = {2: 0xAA, 4: 0x88, 8: 0x80}  # of every code in a byte


def pack(codes: Codes, bits: int) -> Packed:
    """Codes [rows, inputs] in [-2^(bits-1), 2^(bits-1) - 1] to offset-binary bytes.

    Raises ValueError for another width than 2, 4 or 8 bits, a code beyond it, or rows that do not fill
    their last byte.
    """
    _require_width(bits)
    half, per = 2 ** (bits - 1), 8 // bits
    if codes.shape[1] % per:
        raise ValueError(f"rows of {codes.shape[1]} codes of {bits} bits do not fill whole bytes")
    if codes.size and not -half <= codes.min() <= codes.max() < half:
        raise ValueError(
            f"codes from {codes.min()} to {codes.max()} do not fit {bits} bits: {-half} to {half - 1} do"
        )
    offset = codes.view(np.uint8) + np.uint8(half)  # wraps around
    packed: Packed = offset[:, 0::per].copy()
    for place in range(1, per):
        packed |= offset[:, place::per] << np.uint8(place * bits)
    return packed


def unpack(packed: Packed, bits: int) -> Codes:
    """The inverse of `pack`. Raises ValueError for another width than 2, 4 or 8 bits."""
    _require_width(bits)
    per, mask = 8 // bits, np.uint8(2**bits - 1)
    offset = np.empty((packed.shape[0], packed.shape[1] * per), np.uint8)
    for place in range(per):
        offset[:, place::per] = (packed >> np.uint8(place * bits)) & mask
    offset -= np.uint8(2 ** (bits - 1))  # wraps around
    return offset.view(np.int8)


def as_twos_complement(packed: Packed, bits: int) -> Packed:
    """Offset binary to two's complement and back: the same bytes with each code's top bit flipped.

    Raises ValueError for another width than 2, 4 or 8 bits.
    """
    _require_width(bits)
    return packed ^ np.uint8(TOP_BITS[bits])


def rows_per_word(bits: int) -> int:
    """Rows whose zero points share a 32-bit word. Raises ValueError as `pack`."""
    _require_width(bits)
    return 32 // bits


def pack_zero_points(zero_points: ZeroPoints, bits: int) -> PackedZeroPoints:
    """Zero points [rows, groups], which begin a word, to words; the end of the last is filled with 0 bits.

    Raises ValueError as `pack`.
    """
    rows, groups = zero_points.shape
    missing = -rows % rows_per_word(bits)
    filling = np.full((missing, groups), -(2 ** (bits - 1)), np.int8)
    columns = np.ascontiguousarray(np.concatenate([zero_points, filling]).T)
    words: PackedZeroPoints = pack(columns, bits).view("<i4").T
    return np.ascontiguousarray(words)


def unpack_zero_points(words: PackedZeroPoints, bits: int, rows: int) -> ZeroPoints:
    """The inverse of `pack_zero_points`: the first `rows` rows. Raises ValueError as `unpack`."""
    columns = np.ascontiguousarray(words.T).astype("<i4", copy=False).view(np.uint8)
    return np.ascontiguousarray(unpack(columns, bits).T[:rows])


def _require_width(bits: int) -> None:
    if bits not in TOP_BITS:
        raise ValueError(f"codes of {bits} bits have no layout here: 2, 4 and 8 bits have")
