"""Rounding to fp16: exact, in place, and counted.

The policy of the two arithmetics:
- "fp32": values declared fp16 are computed and kept in fp32; nothing is rounded, dequantised
  weights included. It asks what the graph and its stored codes mean.
- "fp16": every result of an operation that is declared fp16 is rounded once to fp16 (ties to
  even); inside an operation, sums and intermediate values are fp32. It asks what happens on
  hardware that keeps fp16 between operations and accumulates wide.
"""

from __future__ import annotations

import threading
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from runtimes.mil.tensor_types import Floats

ArithmeticName = Literal["fp32", "fp16"]
ARITHMETICS: dict[ArithmeticName, str] = {
    "fp32": "fp32, nothing rounded",
    "fp16": "fp16, rounded once per operation, fp32 inside operations",
}

HALF_MAX = 65504.0
BLOCK = 1 << 14  # elements: scratch and block stay in a core's second-level cache
SMALL = 1 << 12  # elements: below it the two `astype` calls cost less than the many of a block
LAST_BINADE = 32768.0  # numbers from here on may round past HALF_MAX

# Bits of fp32: the exponent field; the exponent of the least normal fp16 (2^-14); and what turns
# an exponent e into 1.5 * 2^(e + 13), whose last bit weighs as much as fp16's last bit at e.
SIGN = np.uint32(0x8000_0000)
EXPONENT = np.uint32(0x7F80_0000)
LEAST_NORMAL = np.uint32(113 << 23)
TO_ANCHOR = np.uint32((13 << 23) | (1 << 22))


@dataclass(frozen=True)
class RoundingFacts:
    """non_finite: elements that are NaN or infinite after rounding.

    already_infinite: those of them that were infinite before it.
    """

    non_finite: int = 0
    already_infinite: int = 0

    def __add__(self, other: RoundingFacts) -> RoundingFacts:
        return RoundingFacts(
            self.non_finite + other.non_finite, self.already_infinite + other.already_infinite
        )


ALL_FINITE = RoundingFacts()


class HalfRounding:
    """Rounds fp32 arrays to the nearest fp16 value, as fp32, without leaving numpy.

    Adding and subtracting an anchor one magnitude above a number drops exactly the bits fp16 does
    not have, subnormals included. A block where anything overflows or is not finite takes the slow
    way through float16. It takes well under half the time of `astype` there and back. Threads may
    share one.
    """

    def __init__(self) -> None:
        self._of_thread = threading.local()

    def apply(self, values: Floats) -> RoundingFacts:
        """Round `values` in place; it must have no gaps, and no other value may share its memory."""
        flat = values.ravel(order="K")
        if not np.may_share_memory(flat, values) and flat.size:
            raise ValueError("rounding in place wants an array without gaps")
        if flat.size < SMALL:
            return _through_float16(flat)
        facts = ALL_FINITE
        for start in range(0, flat.size, BLOCK):
            facts += self._block(flat[start : start + BLOCK])
        return facts

    def _block(self, block: Floats) -> RoundingFacts:
        bits, rounded = (scratch[: block.size] for scratch in self._scratch())
        anchor = bits.view(np.float32)
        np.bitwise_and(block.view(np.uint32), EXPONENT, out=bits)
        np.maximum(bits, LEAST_NORMAL, out=bits)
        may_overflow = not anchor.max() < LAST_BINADE  # NaN counts as "may"
        np.add(bits, TO_ANCHOR, out=bits)
        np.add(block, anchor, out=rounded)
        np.subtract(rounded, anchor, out=rounded)
        if may_overflow and not (rounded.max() <= HALF_MAX and rounded.min() >= -HALF_MAX):
            return _through_float16(block)
        np.bitwise_and(block.view(np.uint32), SIGN, out=bits)  # -0 would have come out as 0
        np.bitwise_or(rounded.view(np.uint32), bits, out=block.view(np.uint32))
        return ALL_FINITE

    def _scratch(self) -> tuple[NDArray[np.uint32], Floats]:
        """Two blocks, a thread's own."""
        own = self._of_thread
        if not hasattr(own, "bits"):
            own.bits, own.rounded = np.empty(BLOCK, np.uint32), np.empty(BLOCK, np.float32)
        return own.bits, own.rounded


def _through_float16(block: Floats) -> RoundingFacts:
    rounded = block.astype(np.float16).astype(np.float32)
    facts = ALL_FINITE
    if not np.isfinite(rounded).all():
        facts = RoundingFacts(
            int(np.count_nonzero(~np.isfinite(rounded))), int(np.count_nonzero(np.isinf(block)))
        )
    block[...] = rounded
    return facts
