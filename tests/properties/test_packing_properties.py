"""Packed codes: nothing is lost on the way in or out, at any width and shape."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from compressed_tensors.compressors.pack_quantized.helpers import pack_to_int32
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays
from numpy.typing import NDArray

from exporter.quantization.store.packing import as_twos_complement, pack, unpack


@st.composite
def codes(draw: st.DrawFn) -> tuple[NDArray[np.int8], int]:
    """Codes [rows, inputs] of 4 or 8 bits, inputs whole int32 words, and the bits."""
    bits = draw(st.sampled_from([4, 8]))
    words, rows = draw(st.integers(0, 5)), draw(st.integers(0, 6))
    low, high = -(2 ** (bits - 1)), 2 ** (bits - 1) - 1
    shape = (rows, words * (32 // bits))
    return draw(arrays.arrays(np.int8, shape, elements=st.integers(low, high))), bits


@given(codes())
def test_unpacking_packed_codes_gives_them_back(drawn: tuple[NDArray[np.int8], int]) -> None:
    values, bits = drawn
    packed = pack(values, bits)
    assert packed.dtype == np.uint8
    assert packed.shape == (values.shape[0], values.shape[1] * bits // 8)
    np.testing.assert_array_equal(unpack(packed, bits), values)


@given(codes())
def test_flipping_to_twos_complement_and_back_changes_nothing(drawn: tuple[NDArray[np.int8], int]) -> None:
    values, bits = drawn
    packed = pack(values, bits)
    np.testing.assert_array_equal(as_twos_complement(as_twos_complement(packed, bits), bits), packed)


@given(codes())
def test_twos_complement_reads_as_signed_numbers(drawn: tuple[NDArray[np.int8], int]) -> None:
    values, bits = drawn
    flipped = as_twos_complement(pack(values, bits), bits)
    if bits == 8:
        signed: NDArray[Any] = flipped.view(np.int8)
    else:
        nibbles = np.stack([flipped & 15, flipped >> 4], axis=-1).reshape(values.shape).astype(np.int16)
        signed = np.where(nibbles > 7, nibbles - 16, nibbles)
    np.testing.assert_array_equal(signed, values)


@given(codes())
def test_the_int32_words_are_compressed_tensors_own(drawn: tuple[NDArray[np.int8], int]) -> None:
    values, bits = drawn
    if values.size:
        theirs = pack_to_int32(torch.from_numpy(values), bits).numpy()
        np.testing.assert_array_equal(pack(values, bits).view("<i4"), theirs)
