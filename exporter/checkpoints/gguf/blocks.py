"""GGUF's symmetric blocks as integer codes and scales, without a rounding.

    Q4_0   32 weights a block    fp16 d, nibbles q               (q - 8) * d
    Q5_0   32 weights            fp16 d, fifth bits, nibbles q   (q - 16) * d
    Q8_0   32 weights            fp16 d, int8 q                  q * d
    Q6_K   16 weights, 16 times  6-bit q, int8 s, fp16 d         (q - 32) * s * d

A byte of nibbles holds elements half a block apart, the earlier one low. d may be negative: Q4_0's is the
largest weight divided by -8. Types with an offset per block (Q4_1, Q4_K) or a codebook (IQ4_NL) are no
multiples of a scale and not here. Layout: ggml's ggml-common.h. Not about the file (`file`).
"""

from __future__ import annotations

import numpy as np
from gguf.constants import GGML_QUANT_SIZES, GGMLQuantizationType
from numpy.typing import NDArray

from exporter.checkpoints.interface import Codes, CodeScales, HeldCodes

Blocks = NDArray[np.uint8]  # [blocks, bytes of one]

# A product of an fp16 and an int8 has up to 18 bits of mantissa: fp32 keeps it, fp16 does not.
HELD: dict[GGMLQuantizationType, HeldCodes] = {
    GGMLQuantizationType.Q4_0: HeldCodes(bits=4, group=32, scale_bits=16, negative=True),
    GGMLQuantizationType.Q5_0: HeldCodes(bits=8, group=32, scale_bits=16, negative=True),
    GGMLQuantizationType.Q8_0: HeldCodes(bits=8, group=32, scale_bits=16, negative=True),
    GGMLQuantizationType.Q6_K: HeldCodes(bits=8, group=16, scale_bits=32, negative=True),
}


def codes_and_scales(rows: NDArray[np.uint8], kind: GGMLQuantizationType) -> tuple[Codes, CodeScales]:
    """Stored rows [rows, row_bytes] of a type in `HELD` to codes [rows, in] and scales [rows, groups].

    Raises KeyError for another type.
    """
    held = HELD[kind]
    elements, size = GGML_QUANT_SIZES[kind]
    inputs = rows.shape[1] // size * elements
    blocks = np.ascontiguousarray(rows).reshape(-1, size)
    scales: CodeScales
    match kind:
        case GGMLQuantizationType.Q4_0:
            codes, scales = _nibbles(blocks[:, 2:]) - np.int8(8), _halves(blocks[:, :2])
        case GGMLQuantizationType.Q5_0:
            high = np.unpackbits(blocks[:, 2:6], axis=1, bitorder="little").view(np.int8)
            codes = (_nibbles(blocks[:, 6:]) | (high << np.int8(4))) - np.int8(16)
            scales = _halves(blocks[:, :2])
        case GGMLQuantizationType.Q8_0:
            codes, scales = blocks[:, 2:].view(np.int8), _halves(blocks[:, :2])
        case _:
            codes, scales = _six_bits(blocks[:, :128], blocks[:, 128:192]), _products(blocks[:, 192:])
    groups = inputs // held.group if held.group is not None else 1
    return codes.reshape(len(rows), inputs), scales.reshape(len(rows), groups)


def _halves(raw: Blocks) -> NDArray[np.float16]:
    """Two bytes a block, little-endian IEEE half: [blocks, 1]."""
    return np.ascontiguousarray(raw).view("<f2").astype(np.float16, copy=False)


def _nibbles(raw: Blocks) -> NDArray[np.int8]:
    """[blocks, n] bytes to [blocks, 2n] codes from 0: all the low halves, then all the high ones."""
    both: NDArray[np.uint8] = np.concatenate([raw & np.uint8(0x0F), raw >> np.uint8(4)], axis=1)
    return both.view(np.int8)


def _six_bits(low: Blocks, high: Blocks) -> NDArray[np.int8]:
    """Q6_K's quants, [blocks, 256] from -32: two halves of 128, each four runs of 32 elements.

    low: [blocks, 128], the lower four bits; a run's are the low or the high nibbles of 32 bytes. high:
    [blocks, 64], the upper two; the four runs of a half have their pairs in the same 32 bytes.
    """
    lower = low.reshape(-1, 2, 1, 64) >> np.array([0, 4], np.uint8).reshape(1, 1, 2, 1) & np.uint8(0x0F)
    upper = high.reshape(-1, 2, 1, 32) >> np.array([0, 2, 4, 6], np.uint8).reshape(1, 1, 4, 1) & np.uint8(3)
    quants = lower.reshape(-1, 2, 4, 32) | (upper << np.uint8(4))
    return quants.reshape(-1, 256).view(np.int8) - np.int8(32)


def _products(raw: Blocks) -> NDArray[np.float32]:
    """16 int8 scales and their fp16 factor: [blocks, 16] products, exact in fp32."""
    whole = _halves(raw[:, 16:18]).astype(np.float32)
    return raw[:, :16].view(np.int8).astype(np.float32) * whole
