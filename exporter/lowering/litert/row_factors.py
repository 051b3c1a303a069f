"""A row's scale in two: a power of two, which the weight has, and a factor the product is multiplied with.

LiteRT's GPU accelerator widens a code c in fp16 as (c + 128) s - 128 s, of 4 bits as of 8, and each product
is rounded: the weight is off by up to 0.06 s. That is nothing of an 8-bit code and 1 % of a 4-bit one
(ai-edge-litert 2.3, up to 16 tokens at once; `python -m benchmarks.gpu_codes`, docs/adr/0023). With a power
of two for s both products are exact. Factors lie in [1, 2) and hold a scale's sign; fp16 holds them, since
it held the scale. Not about which matrices want it (`signatures`).
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

FACTORS_SUFFIX = "_row_factors"  # of the constant's name, behind its weight's
BITS = 4  # of codes, at most, a step of which is large beside the error


def in_two(scales: NDArray[np.float32]) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Powers of two and factors, whose products are the scales bit by bit. A scale of 0 has factor 0."""
    halves, exponents = np.frexp(scales)
    return np.ldexp(np.float32(1), exponents - 1).astype(np.float32), (2 * halves).astype(np.float32)
