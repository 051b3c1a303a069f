"""Codes and scales, whatever the weights: bounds that no input may break."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from exporter.quantization.methods.nearest import SMALLEST_FP16, quantize_rows
from exporter.quantization.store.packing import unpack
from exporter.schemes import (
    INT4_CHANNEL,
    INT4_G32,
    INT8_CHANNEL,
    INT8_G16,
    INT8_G32,
    IntegerScheme,
)

SCHEMES = (INT8_CHANNEL, INT8_G32, INT8_G16, INT4_G32, INT4_CHANNEL)


@st.composite
def rows(draw: st.DrawFn) -> NDArray[np.float32]:
    """Matrices of every scale from far below fp16 to near its end, with zeros and outliers."""
    seed = draw(st.integers(0, 2**32 - 1))
    random = np.random.default_rng(seed)
    shape = (draw(st.integers(1, 5)), 32 * draw(st.integers(1, 4)))
    values = random.standard_normal(shape) * 10.0 ** draw(st.floats(-12, 3))
    shares = {"zero": draw(st.sampled_from([0.0, 0.5, 1.0])), "outlier": draw(st.sampled_from([0.0, 0.05]))}
    values *= random.random(shape) >= shares["zero"]
    values *= np.where(random.random(shape) < shares["outlier"], 30.0, 1.0)
    if draw(st.booleans()):
        values[:, :32] = 0  # a whole group
    found: NDArray[np.float32] = values.astype(np.float32)
    return found


def dequantised(
    values: NDArray[np.float32], scheme: IntegerScheme
) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.int8]]:
    """What codes and scales stand for, the scale of every weight, and the codes."""
    packed, scales = quantize_rows(values, scheme)
    codes = unpack(packed, scheme.bits)
    assert scales.dtype == np.float16
    assert scales.shape == (values.shape[0], scheme.groups(values.shape[1]))
    spread = np.repeat(scales.astype(np.float64), values.shape[1] // scales.shape[1], axis=1)
    return codes * spread, spread, codes


def grouped(values: NDArray[np.float64], scheme: IntegerScheme) -> NDArray[np.float64]:
    return values.reshape(values.shape[0], scheme.groups(values.shape[1]), -1)


@given(rows(), st.sampled_from(SCHEMES))
def test_scales_are_positive_and_finite(values: NDArray[np.float32], scheme: IntegerScheme) -> None:
    _, scales, _ = dequantised(values, scheme)
    assert np.isfinite(scales).all()
    assert (scales > 0).all()


@given(rows(), st.sampled_from([INT8_CHANNEL, INT8_G32]))
def test_int8_codes_leave_out_the_lowest(values: NDArray[np.float32], scheme: IntegerScheme) -> None:
    _, _, codes = dequantised(values, scheme)
    assert codes.min() >= -127


@given(rows())
def test_int8_is_off_by_half_a_step_where_it_is_not_cut_off(values: NDArray[np.float32]) -> None:
    found, scales, codes = dequantised(values, INT8_CHANNEL)
    assert (np.abs(found - values) <= scales * (0.5 + 1e-6))[np.abs(codes) < 127].all()


@given(rows(), st.sampled_from(SCHEMES))
def test_codes_are_the_nearest_for_their_scale(values: NDArray[np.float32], scheme: IntegerScheme) -> None:
    found, scales, codes = dequantised(values, scheme)
    high = 2 ** (scheme.bits - 1) - 1
    low = -high if scheme.bits == 8 else -high - 1
    for neighbour in (codes.astype(np.int64) - 1, codes.astype(np.int64) + 1):
        there = (neighbour >= low) & (neighbour <= high)
        closer = np.abs(neighbour * scales - values) < np.abs(found - values) - 1e-6 * scales
        assert not (there & closer).any()


@given(rows(), st.sampled_from([INT4_G32, INT4_CHANNEL, INT8_CHANNEL, INT8_G32]))
@settings(max_examples=200)
def test_the_search_is_never_worse_than_absmax(values: NDArray[np.float32], scheme: IntegerScheme) -> None:
    found, _, _ = dequantised(values, scheme)
    weights = grouped(values.astype(np.float64), scheme)
    top = 2 ** (scheme.bits - 1) - 1
    absmax = np.abs(weights).max(axis=-1, keepdims=True) / top
    scale = np.maximum(absmax.astype(np.float16).astype(np.float64), SMALLEST_FP16)
    plain = np.clip(np.rint(weights / scale), -top if scheme.bits == 8 else -top - 1, top) * scale

    def error(candidate: NDArray[np.float64]) -> NDArray[np.float64]:
        found: NDArray[np.float64] = (np.abs(weights) * (candidate - weights) ** 2).sum(axis=-1)
        return found

    slack = 1e-6 * (np.abs(weights) ** 3).sum(axis=-1)  # errors are summed in float32
    assert (error(grouped(found, scheme)) <= error(plain) + slack).all()


@given(st.sampled_from(SCHEMES), st.integers(1, 3))
def test_zeros_stay_zeros(scheme: IntegerScheme, count: int) -> None:
    found, _, codes = dequantised(np.zeros((count, 64), np.float32), scheme)
    assert not codes.any()
    assert not found.any()


@given(rows(), st.sampled_from(SCHEMES))
def test_a_row_is_quantised_the_same_in_any_company(
    values: NDArray[np.float32], scheme: IntegerScheme
) -> None:
    together = quantize_rows(values, scheme)
    for i in range(len(values)):
        alone = quantize_rows(values[i : i + 1], scheme)
        np.testing.assert_array_equal(alone[0][0], together[0][i])
        np.testing.assert_array_equal(alone[1][0], together[1][i])


@pytest.mark.parametrize("scheme", SCHEMES)
def test_a_weight_that_no_scale_reaches_is_refused(scheme: IntegerScheme) -> None:
    values = np.zeros((2, 64), np.float32)
    values[1, 3] = -1e9
    with pytest.raises(
        OverflowError, match=r"a weight of magnitude 1000000000\.0 needs a scale beyond fp16"
    ):
        quantize_rows(values, scheme)
