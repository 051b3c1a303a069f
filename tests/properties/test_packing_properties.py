"""Packed codes and zero points: nothing is lost on the way in or out, at any width and shape."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from compressed_tensors.compressors.pack_quantized.helpers import pack_to_int32, unpack_from_int32
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays
from numpy.typing import NDArray

from exporter.quantization.store.packing import (
    as_twos_complement,
    pack,
    pack_zero_points,
    unpack,
    unpack_zero_points,
)

WIDTHS = (2, 4, 8)
Drawn = tuple[NDArray[np.int8], int]


@st.composite
def codes(draw: st.DrawFn) -> Drawn:
    """Codes [rows, inputs] of every width, inputs whole int32 words, and the bits."""
    bits = draw(st.sampled_from(WIDTHS))
    words, rows = draw(st.integers(0, 5)), draw(st.integers(0, 6))
    return draw(of_width((rows, words * (32 // bits)), bits)), bits


@st.composite
def zero_points(draw: st.DrawFn) -> Drawn:
    """Zero points [rows, groups], rows often not whole int32 words, and the bits."""
    bits = draw(st.sampled_from(WIDTHS))
    rows, groups = draw(st.integers(1, 40)), draw(st.integers(1, 4))
    return draw(of_width((rows, groups), bits)), bits


def of_width(shape: tuple[int, ...], bits: int) -> st.SearchStrategy[NDArray[np.int8]]:
    low, high = -(2 ** (bits - 1)), 2 ** (bits - 1) - 1
    return arrays.arrays(np.int8, shape, elements=st.integers(low, high))


@given(codes())
def test_unpacking_packed_codes_gives_them_back(drawn: Drawn) -> None:
    values, bits = drawn
    packed = pack(values, bits)
    assert packed.dtype == np.uint8
    assert packed.shape == (values.shape[0], values.shape[1] * bits // 8)
    np.testing.assert_array_equal(unpack(packed, bits), values)


@given(codes())
def test_flipping_to_twos_complement_and_back_changes_nothing(drawn: Drawn) -> None:
    values, bits = drawn
    packed = pack(values, bits)
    np.testing.assert_array_equal(as_twos_complement(as_twos_complement(packed, bits), bits), packed)


@given(codes())
def test_twos_complement_reads_as_signed_numbers(drawn: Drawn) -> None:
    values, bits = drawn
    flipped = as_twos_complement(pack(values, bits), bits).astype(np.int16)
    places = [(flipped >> (place * bits)) & (2**bits - 1) for place in range(8 // bits)]
    unsigned = np.stack(places, axis=-1).reshape(values.shape)
    np.testing.assert_array_equal(
        np.where(unsigned >= 2 ** (bits - 1), unsigned - 2**bits, unsigned), values
    )


@given(codes())
def test_the_int32_words_are_compressed_tensors_own(drawn: Drawn) -> None:
    values, bits = drawn
    if values.size:
        words = pack(values, bits).view("<i4")
        np.testing.assert_array_equal(words, pack_to_int32(torch.from_numpy(values), bits).numpy())
        theirs = unpack_from_int32(torch.from_numpy(words), bits, torch.Size(values.shape))
        np.testing.assert_array_equal(theirs.numpy(), values)


@given(zero_points())
def test_the_words_of_zero_points_are_compressed_tensors_own(drawn: Drawn) -> None:
    values, bits = drawn
    words = pack_zero_points(values, bits)
    theirs = pack_to_int32(torch.from_numpy(values), bits, packed_dim=0)
    np.testing.assert_array_equal(words, theirs.numpy())
    back = unpack_from_int32(torch.from_numpy(words), bits, torch.Size(values.shape), packed_dim=0)
    np.testing.assert_array_equal(back.numpy(), values)
    np.testing.assert_array_equal(unpack_zero_points(words, bits, len(values)), values)


@given(st.integers(-1, 40).filter(lambda bits: bits not in WIDTHS))
def test_another_width_is_refused(bits: int) -> None:
    refusal = f"codes of {bits} bits have no layout here: 2, 4 and 8 bits have"
    codes, packed = np.zeros((2, 32), np.int8), np.zeros((2, 32), np.uint8)
    with pytest.raises(ValueError, match=refusal):
        pack(codes, bits)
    with pytest.raises(ValueError, match=refusal):
        unpack(packed, bits)
    with pytest.raises(ValueError, match=refusal):
        as_twos_complement(packed, bits)
    with pytest.raises(ValueError, match=refusal):
        pack_zero_points(codes, bits)
    with pytest.raises(ValueError, match=refusal):
        unpack_zero_points(np.zeros((2, 1), np.int32), bits, 2)


@given(st.sampled_from([2, 4]), st.integers(-128, 127), st.integers(0, 31))
def test_a_code_beyond_its_width_is_refused(bits: int, code: int, place: int) -> None:
    values = np.zeros((1, 32), np.int8)
    values[0, place] = code
    if -(2 ** (bits - 1)) <= code < 2 ** (bits - 1):
        np.testing.assert_array_equal(unpack(pack(values, bits), bits), values)
    else:
        with pytest.raises(ValueError, match=rf"codes from .*{code}.* do not fit {bits} bits"):
            pack(values, bits)


@given(st.sampled_from([2, 4]), st.integers(1, 40))
def test_rows_that_do_not_fill_their_last_byte_are_refused(bits: int, inputs: int) -> None:
    values = np.zeros((3, inputs), np.int8)
    if inputs * bits % 8:
        with pytest.raises(ValueError, match=f"rows of {inputs} codes of {bits} bits do not fill whole"):
            pack(values, bits)
    else:
        assert pack(values, bits).shape == (3, inputs * bits // 8)
