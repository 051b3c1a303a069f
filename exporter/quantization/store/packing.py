"""Integer codes as bytes, in the one layout of the quantised checkpoint.

Offset binary, first element in the low bits: int8 is one byte `code + 128`, int4 is two elements a
byte, `code + 8` each, even element low. Read as little-endian int32 this is compressed-tensors'
"pack-quantized"; read as bytes it is ONNX MatMulNBits' B; with the top bit of every code flipped
(`as_twos_complement`) it is what LiteRT and Core ML store.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Packed = NDArray[np.uint8]  # [rows, inputs * bits / 8]
Codes = NDArray[np.int8]  # [rows, inputs]


def pack(codes: Codes, bits: int) -> Packed:
    """Codes [rows, inputs] in [-2^(bits-1), 2^(bits-1) - 1] to offset-binary bytes."""
    if bits == 8:
        return codes.view(np.uint8) ^ np.uint8(0x80)
    offset = (codes + np.int8(8)).view(np.uint8)
    packed: Packed = offset[:, 0::2] | (offset[:, 1::2] << np.uint8(4))
    return packed


def unpack(packed: Packed, bits: int) -> Codes:
    """The inverse of `pack`."""
    if bits == 8:
        return (packed ^ np.uint8(0x80)).view(np.int8)
    codes = np.empty((packed.shape[0], packed.shape[1] * 2), np.int8)
    codes[:, 0::2] = packed & np.uint8(0x0F)
    codes[:, 1::2] = packed >> np.uint8(4)
    codes -= np.int8(8)
    return codes


def as_twos_complement(packed: Packed, bits: int) -> Packed:
    """Offset binary to two's complement and back: the same bytes with each code's top bit flipped."""
    return packed ^ np.uint8(0x80 if bits == 8 else 0x88)
