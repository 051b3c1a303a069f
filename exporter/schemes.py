"""`Scheme`: how one weight matrix is stored, as a value.

Not about how codes are found (`exporter.quantization`) or how a runtime lays them out (lowerings).
"""

from __future__ import annotations

import math
from dataclasses import dataclass

from exporter.checkpoints.interface import HeldCodes


@dataclass(frozen=True)
class IntegerScheme:
    """Symmetric integer codes: weight = code * scale, code in [-2^(bits-1), 2^(bits-1) - 1].

    group: inputs that share a scale; None for one scale per output row. scale_bits: 16 or 32, the
    floating point a scale is kept in.
    """

    name: str
    bits: int
    group: int | None
    scale_bits: int

    def groups(self, inputs: int) -> int:
        """Scales per row of a matrix with this many inputs."""
        return 1 if self.group is None else inputs // self.group

    def stored_bytes(self, shape: tuple[int, ...]) -> int:
        """Bytes of codes and scales of a matrix [out, in]."""
        rows, inputs = shape
        return rows * (inputs * self.bits + self.scale_bits * self.groups(inputs)) // 8


@dataclass(frozen=True)
class FloatScheme:
    """Weights kept as floating point of this many bits (16: IEEE half, 32: single)."""

    name: str
    bits: int

    def stored_bytes(self, shape: tuple[int, ...]) -> int:
        return math.prod(shape) * self.bits // 8


Scheme = IntegerScheme | FloatScheme

INT8_CHANNEL = IntegerScheme("int8-channel", 8, None, 16)
INT8_G32 = IntegerScheme("int8-g32", 8, 32, 16)
# Scales are fp32 because this is what GGUF's Q6_K is: an fp16 times an int8, 18 bits of mantissa.
INT8_G16 = IntegerScheme("int8-g16", 8, 16, 32)
INT4_CHANNEL = IntegerScheme("int4-channel", 4, None, 16)
INT4_G32 = IntegerScheme("int4-g32", 4, 32, 16)
FP16 = FloatScheme("fp16", 16)
FP32 = FloatScheme("fp32", 32)

SCHEMES: dict[str, Scheme] = {
    scheme.name: scheme for scheme in (INT8_CHANNEL, INT8_G32, INT8_G16, INT4_CHANNEL, INT4_G32, FP16, FP32)
}


def scheme_holding(held: HeldCodes) -> IntegerScheme | None:
    """The scheme that is exactly these codes and scales, None where there is none."""
    integers = (scheme for scheme in SCHEMES.values() if isinstance(scheme, IntegerScheme))
    alike = (each for each in integers if (each.bits, each.group) == (held.bits, held.group))
    return next((each for each in alike if each.scale_bits >= held.scale_bits), None)
