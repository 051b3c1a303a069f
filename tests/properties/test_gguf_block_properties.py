"""GGUF's blocks as codes and scales: whatever the bytes, they stand for what the gguf package reads."""

from __future__ import annotations

import gguf
import numpy as np
import pytest
from gguf.constants import GGML_QUANT_SIZES, GGMLQuantizationType
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from exporter.checkpoints.gguf.blocks import HELD, codes_and_scales
from exporter.quantization.store.packing import pack, unpack
from exporter.schemes import scheme_holding

D_AT = {"Q4_0": 0, "Q5_0": 0, "Q8_0": 0, "Q6_K": 208}  # where a block has its fp16 factor
Drawn = tuple[GGMLQuantizationType, NDArray[np.uint8]]


@st.composite
def rows(draw: st.DrawFn) -> Drawn:
    """Rows of random blocks of one type; their factors are finite, of every size and sign, often 0."""
    kind = draw(st.sampled_from(sorted(HELD)))
    random = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    _, size = GGML_QUANT_SIZES[kind]
    count, blocks = draw(st.integers(1, 4)), draw(st.integers(1, 3))
    raw = random.integers(0, 256, (count, blocks, size), np.uint8)
    factors = random.standard_normal((count, blocks)) * 10.0 ** random.uniform(-8, 3, (count, blocks))
    factors *= random.random((count, blocks)) < 0.9
    at = D_AT[kind.name]
    raw[..., at : at + 2] = factors.astype("<f2")[..., None].view(np.uint8)
    return kind, raw.reshape(count, blocks * size)


@given(rows())
def test_codes_times_scales_are_the_packages_values_bit_for_bit(drawn: Drawn) -> None:
    kind, raw = drawn
    codes, scales = codes_and_scales(raw, kind)
    values = codes.reshape(*scales.shape, -1).astype(np.float32) * scales.astype(np.float32)[..., None]
    expected = gguf.dequantize(raw, kind)
    assert expected.dtype == np.float32
    np.testing.assert_array_equal(values.reshape(codes.shape).view(np.int32), expected.view(np.int32))


@given(rows())
def test_codes_and_scales_are_what_the_source_says_it_holds(drawn: Drawn) -> None:
    kind, raw = drawn
    held = HELD[kind]
    codes, scales = codes_and_scales(raw, kind)
    assert held.group is not None
    assert scales.shape == (len(raw), codes.shape[1] // held.group)
    assert scales.dtype == (np.float16 if held.scale_bits == 16 else np.float32)
    assert codes.dtype == np.int8
    assert codes.min() >= -(2 ** (held.bits - 1))
    assert codes.max() < 2 ** (held.bits - 1)
    np.testing.assert_array_equal(unpack(pack(codes, held.bits), held.bits), codes)


@pytest.mark.parametrize("kind", sorted(HELD))
def test_there_is_a_scheme_for_every_type(kind: GGMLQuantizationType) -> None:
    assert scheme_holding(HELD[kind]) is not None


def test_a_scale_of_q6_k_needs_more_than_fp16() -> None:
    raw = np.zeros((1, 210), np.uint8)
    raw[0, 192], raw[0, 208:] = 127, np.array([1.0009765625], "<f2").view(np.uint8)
    _, scales = codes_and_scales(raw, GGMLQuantizationType.Q6_K)
    assert scales[0, 0] == np.float32(127 * 1.0009765625)
    assert scales[0, 0] != np.float32(np.float16(scales[0, 0]))


def test_q4_0_gives_the_largest_weight_code_minus_8_and_so_negative_scales() -> None:
    values = np.zeros((1, 32), np.float32)
    values[0, 5], values[0, 6] = 1.0, -0.9
    codes, scales = codes_and_scales(
        gguf.quantize(values, GGMLQuantizationType.Q4_0), GGMLQuantizationType.Q4_0
    )
    assert scales[0, 0] == np.float16(-0.125)
    assert codes[0, 5] == -8  # negated, it would not be a 4-bit code: no positive scale holds this block
