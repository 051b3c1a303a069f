"""Rounding to fp16: bit for bit what numpy's float16 does, and counted."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from runtimes.mil.arithmetic import BLOCK, SMALL, HalfRounding, RoundingFacts
from runtimes.mil.tensor_types import Floats

HALVES = np.arange(1 << 16, dtype=np.uint16).view(np.float16).astype(np.float32)


def _agrees(values: Floats) -> None:
    """Rounded in small pieces and in blocks, the same as through float16; facts counted."""
    with np.errstate(all="ignore"):
        expected = values.astype(np.float16).astype(np.float32)
        for size in (min(SMALL - 1, values.size), values.size):
            got = values[:size].copy()
            facts = HalfRounding().apply(got)
            assert np.array_equal(np.isnan(got), np.isnan(expected[:size]))
            numbers = ~np.isnan(got)
            assert np.array_equal(got[numbers].view(np.uint32), expected[:size][numbers].view(np.uint32))
            assert facts == RoundingFacts(
                int((~np.isfinite(expected[:size])).sum()), int(np.isinf(values[:size]).sum())
            )


def test_fp16_numbers_are_kept() -> None:
    _agrees(HALVES)


def test_ties_and_their_neighbours_round_as_in_float16() -> None:
    finite = np.sort(HALVES[np.isfinite(HALVES)]).astype(np.float64)
    middle = ((finite[1:] + finite[:-1]) / 2).astype(np.float32)
    _agrees(middle)
    _agrees(np.nextafter(middle, np.float32(np.inf)))
    _agrees(np.nextafter(middle, np.float32(-np.inf)))


@given(st.integers(0, (1 << 32) - 1), st.integers(0, 255))
def test_any_bits_round_as_in_float16(seed: int, exponent: int) -> None:
    bits = np.random.default_rng(seed).integers(0, 1 << 32, BLOCK + SMALL, dtype=np.uint64)
    _agrees(bits.astype(np.uint32).view(np.float32))
    near = (bits.astype(np.uint32) & np.uint32(0x807FFFFF)) | np.uint32(exponent << 23)
    _agrees(near.view(np.float32))


def test_what_overflows_becomes_infinite_and_is_counted() -> None:
    values = np.array([65504, 65519.996, 65520, -1e6, np.inf, np.nan, 1], np.float32)
    with np.errstate(all="ignore"):
        facts = HalfRounding().apply(values)
    assert values.tolist()[:5] == [65504, 65504, np.inf, -np.inf, np.inf]
    assert facts == RoundingFacts(non_finite=4, already_infinite=1)


def test_a_transposed_array_is_rounded_where_it_lies() -> None:
    values = np.full((SMALL, 3), 1 / 3, np.float32).T
    HalfRounding().apply(values)
    assert (values == np.float32(np.float16(1 / 3))).all()


def test_an_array_with_gaps_is_refused() -> None:
    with pytest.raises(ValueError, match="without gaps"):
        HalfRounding().apply(np.ones((4, 4), np.float32)[:, :2])
