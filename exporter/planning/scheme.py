"""`Scheme`: how one weight matrix is stored, as a value.

Not about how codes are found (`exporter.quantization`) or how a runtime lays them out (lowerings).
"""

from __future__ import annotations

import math
from dataclasses import dataclass


@dataclass(frozen=True)
class IntegerScheme:
    """Symmetric integer codes: weight = code * scale, code in [-2^(bits-1), 2^(bits-1) - 1].

    group: inputs that share a scale; None for one scale per output row.
    """

    name: str
    bits: int
    group: int | None

    def groups(self, inputs: int) -> int:
        """Scales per row of a matrix with this many inputs."""
        return 1 if self.group is None else inputs // self.group

    def stored_bytes(self, shape: tuple[int, ...]) -> int:
        """Bytes of codes and fp16 scales of a matrix [out, in]."""
        rows, inputs = shape
        return rows * (inputs * self.bits // 8 + 2 * self.groups(inputs))


@dataclass(frozen=True)
class FloatScheme:
    """Weights kept as floating point of this many bits (16: IEEE half, 32: single)."""

    name: str
    bits: int

    def stored_bytes(self, shape: tuple[int, ...]) -> int:
        return math.prod(shape) * self.bits // 8


Scheme = IntegerScheme | FloatScheme

INT8_CHANNEL = IntegerScheme("int8-channel", 8, None)
INT4_CHANNEL = IntegerScheme("int4-channel", 4, None)
INT4_G32 = IntegerScheme("int4-g32", 4, 32)
FP16 = FloatScheme("fp16", 16)
FP32 = FloatScheme("fp32", 32)

SCHEMES: dict[str, Scheme] = {
    scheme.name: scheme for scheme in (INT8_CHANNEL, INT4_CHANNEL, INT4_G32, FP16, FP32)
}
