"""`Scheme`: how one weight matrix is stored, as a value.

Not about how codes are found (`exporter.quantization`) or how a runtime lays them out (lowerings).
"""

from __future__ import annotations

import math
from dataclasses import dataclass

from exporter.checkpoints.interface import HeldCodes


@dataclass(frozen=True)
class IntegerScheme:
    """Integer codes: weight = (code - zero_point) * scale, code in [-2^(bits-1), 2^(bits-1) - 1].

    bits: 2, 4 or 8. group: inputs that share a scale; None for one scale per output row. scale_bits: 16
    or 32, the floating point a scale is kept in. zero_points: beside every scale lies the code that
    stands for 0 (asymmetric); without them that code is 0 (symmetric).
    """

    name: str
    bits: int
    group: int | None
    scale_bits: int
    zero_points: bool

    @property
    def lowest(self) -> int:
        """The lowest code and zero point."""
        return -(1 << (self.bits - 1))

    @property
    def highest(self) -> int:
        """The highest code and zero point."""
        return (1 << (self.bits - 1)) - 1

    @property
    def in_words(self) -> str:
        """As whoever reads no names of schemes is told: "4-bit weights in groups of 32"."""
        shared = "with a scale for each row" if self.group is None else f"in groups of {self.group}"
        return f"{self.bits}-bit weights {shared}"

    def groups(self, inputs: int) -> int:
        """Scales per row of a matrix with this many inputs."""
        return 1 if self.group is None else inputs // self.group

    def zero_point_words(self, rows: int) -> int:
        """32-bit words that hold the zero points of one group of every row; 0 for a symmetric scheme."""
        return -(-rows * self.bits // 32) if self.zero_points else 0

    def stored_bytes(self, shape: tuple[int, ...]) -> int:
        """Bytes of codes, scales and zero points of a matrix [out, in]."""
        rows, inputs = shape
        groups = self.groups(inputs)
        codes_and_scales = rows * (inputs * self.bits + self.scale_bits * groups) // 8
        return codes_and_scales + self.zero_point_words(rows) * groups * 4


@dataclass(frozen=True)
class FloatScheme:
    """Weights kept as floating point of this many bits (16: IEEE half, 32: single)."""

    name: str
    bits: int

    def stored_bytes(self, shape: tuple[int, ...]) -> int:
        return math.prod(shape) * self.bits // 8


Scheme = IntegerScheme | FloatScheme

INT8_CHANNEL = IntegerScheme("int8-channel", 8, None, 16, zero_points=False)
INT8_G32 = IntegerScheme("int8-g32", 8, 32, 16, zero_points=False)
# Scales are fp32 because this is what GGUF's Q6_K is: an fp16 times an int8, 18 bits of mantissa.
INT8_G16 = IntegerScheme("int8-g16", 8, 16, 32, zero_points=False)
INT8_CHANNEL_ZP = IntegerScheme("int8-channel-zp", 8, None, 16, zero_points=True)
INT4_CHANNEL = IntegerScheme("int4-channel", 4, None, 16, zero_points=False)
INT4_G16 = IntegerScheme("int4-g16", 4, 16, 16, zero_points=False)
INT4_G32 = IntegerScheme("int4-g32", 4, 32, 16, zero_points=False)
INT4_G64 = IntegerScheme("int4-g64", 4, 64, 16, zero_points=False)
INT4_G128 = IntegerScheme("int4-g128", 4, 128, 16, zero_points=False)
INT4_CHANNEL_ZP = IntegerScheme("int4-channel-zp", 4, None, 16, zero_points=True)
INT4_G16_ZP = IntegerScheme("int4-g16-zp", 4, 16, 16, zero_points=True)
INT4_G32_ZP = IntegerScheme("int4-g32-zp", 4, 32, 16, zero_points=True)
INT4_G64_ZP = IntegerScheme("int4-g64-zp", 4, 64, 16, zero_points=True)
INT4_G128_ZP = IntegerScheme("int4-g128-zp", 4, 128, 16, zero_points=True)
INT2_CHANNEL = IntegerScheme("int2-channel", 2, None, 16, zero_points=False)
INT2_G32 = IntegerScheme("int2-g32", 2, 32, 16, zero_points=False)
INT2_G16_ZP = IntegerScheme("int2-g16-zp", 2, 16, 16, zero_points=True)
INT2_G32_ZP = IntegerScheme("int2-g32-zp", 2, 32, 16, zero_points=True)
FP16 = FloatScheme("fp16", 16)
FP32 = FloatScheme("fp32", 32)

SYMMETRIC = (
    *(INT8_CHANNEL, INT8_G32, INT8_G16),
    *(INT4_CHANNEL, INT4_G16, INT4_G32, INT4_G64, INT4_G128),
    *(INT2_CHANNEL, INT2_G32),
)
ASYMMETRIC = (
    INT8_CHANNEL_ZP,
    *(INT4_CHANNEL_ZP, INT4_G16_ZP, INT4_G32_ZP, INT4_G64_ZP, INT4_G128_ZP),
    *(INT2_G16_ZP, INT2_G32_ZP),
)
SCHEMES: dict[str, Scheme] = {scheme.name: scheme for scheme in (*SYMMETRIC, *ASYMMETRIC, FP16, FP32)}


def scheme_holding(held: HeldCodes) -> IntegerScheme | None:
    """The scheme that is exactly these codes and scales, None where there is none."""
    alike = (each for each in SYMMETRIC if (each.bits, each.group) == (held.bits, held.group))
    return next((each for each in alike if each.scale_bits >= held.scale_bits), None)
