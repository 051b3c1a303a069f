"""Codes, scales and zero points, whatever the weights: bounds that no input may break."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from exporter.quantization.methods.interface import FoundCodes
from exporter.quantization.methods.nearest import quantize_rows
from exporter.quantization.methods.scale_search import SMALLEST_FP16
from exporter.schemes import IntegerScheme

WIDTHS, GROUPS = (2, 4, 8), (None, 16, 32, 64, 128)


def every_scheme(zero_points: bool) -> list[IntegerScheme]:
    """All widths and groups, named or not."""
    return [
        IntegerScheme(f"int{bits}-{group}{'-zp' * zero_points}", bits, group, 16, zero_points)
        for bits in WIDTHS
        for group in GROUPS
    ]


SYMMETRIC, ASYMMETRIC = every_scheme(False), every_scheme(True)
ALL = SYMMETRIC + ASYMMETRIC


@st.composite
def rows(draw: st.DrawFn) -> NDArray[np.float32]:
    """Matrices of every scheme from far below fp16 to near its end, with zeros, outliers and one sign."""
    seed = draw(st.integers(0, 2**32 - 1))
    random = np.random.default_rng(seed)
    shape = (draw(st.integers(1, 5)), 128 * draw(st.integers(1, 2)))
    values = random.standard_normal(shape) * 10.0 ** draw(st.floats(-12, 2.5))
    shares = {"zero": draw(st.sampled_from([0.0, 0.5, 1.0])), "outlier": draw(st.sampled_from([0.0, 0.05]))}
    values *= random.random(shape) >= shares["zero"]
    values *= np.where(random.random(shape) < shares["outlier"], 30.0, 1.0)
    if draw(st.booleans()):
        values[:, :32] = 0  # a whole group
    match draw(st.sampled_from(["bell", "skewed", "positive", "negative"])):
        case "skewed":
            values = np.where(values < 0, 0.2 * values, values)
        case "positive":
            values = np.abs(values)
        case "negative":
            values = -np.abs(values)
    found: NDArray[np.float32] = values.astype(np.float32)
    return found


def grouped(values: NDArray[np.float64], scheme: IntegerScheme) -> NDArray[np.float64]:
    return values.reshape(values.shape[0], scheme.groups(values.shape[1]), -1)


def dequantised(
    values: NDArray[np.float32], scheme: IntegerScheme
) -> tuple[NDArray[np.float64], NDArray[np.float64], FoundCodes]:
    """What codes stand for, the scale of every weight, and what was found."""
    found = quantize_rows(values, scheme)
    shape = (values.shape[0], scheme.groups(values.shape[1]))
    assert found.scales.dtype == np.float16
    assert found.codes.shape == values.shape
    assert found.scales.shape == shape
    assert (found.zero_points is not None) == scheme.zero_points
    zeros = np.zeros(shape, np.int8) if found.zero_points is None else found.zero_points
    assert zeros.shape == shape
    spread, zero = (
        np.repeat(each.astype(np.float64), values.shape[1] // shape[1], axis=1)
        for each in (found.scales, zeros)
    )
    return (found.codes - zero) * spread, spread, found


def lowest(scheme: IntegerScheme) -> int:
    """The lowest code the quantiser may give."""
    return scheme.lowest + (scheme.bits == 8 and not scheme.zero_points)


def weighted_error(
    weights: NDArray[np.float64], candidate: NDArray[np.float64], scheme: IntegerScheme
) -> NDArray[np.float64]:
    """Σ|w|(w - candidate)² of every group."""
    found: NDArray[np.float64] = grouped(np.abs(weights) * (candidate - weights) ** 2, scheme).sum(axis=-1)
    return found


@given(rows(), st.sampled_from(ALL))
def test_scales_are_positive_and_finite(values: NDArray[np.float32], scheme: IntegerScheme) -> None:
    _, _, found = dequantised(values, scheme)
    assert np.isfinite(found.scales).all()
    assert (found.scales > 0).all()


@given(rows(), st.sampled_from(ALL))
def test_codes_and_zero_points_are_within_their_width(
    values: NDArray[np.float32], scheme: IntegerScheme
) -> None:
    _, _, found = dequantised(values, scheme)
    assert lowest(scheme) <= found.codes.min() <= found.codes.max() <= scheme.highest
    if found.zero_points is not None:
        assert scheme.lowest <= found.zero_points.min() <= found.zero_points.max() <= scheme.highest


@given(rows(), st.sampled_from([scheme for scheme in SYMMETRIC if scheme.bits == 8]))
def test_symmetric_int8_codes_leave_out_the_lowest(
    values: NDArray[np.float32], scheme: IntegerScheme
) -> None:
    _, _, found = dequantised(values, scheme)
    assert found.codes.min() >= -127


@given(rows(), st.sampled_from(ALL))
def test_a_weight_is_off_by_half_a_step_where_it_is_not_cut_off(
    values: NDArray[np.float32], scheme: IntegerScheme
) -> None:
    restored, scales, found = dequantised(values, scheme)
    inside = (found.codes > lowest(scheme)) & (found.codes < scheme.highest)
    assert (np.abs(restored - values) <= scales * (0.5 + 1e-5))[inside].all()


@given(rows(), st.sampled_from(ALL))
def test_codes_are_the_nearest_for_their_scale(values: NDArray[np.float32], scheme: IntegerScheme) -> None:
    restored, scales, found = dequantised(values, scheme)
    for step in (-1, 1):
        neighbour = found.codes.astype(np.int64) + step
        there = (neighbour >= lowest(scheme)) & (neighbour <= scheme.highest)
        closer = np.abs(restored + step * scales - values) < np.abs(restored - values) - 1e-5 * scales
        assert not (there & closer).any()


@given(rows(), st.sampled_from(SYMMETRIC))
@settings(max_examples=200)
def test_the_search_is_never_worse_than_absmax(values: NDArray[np.float32], scheme: IntegerScheme) -> None:
    restored, _, _ = dequantised(values, scheme)
    weights = values.astype(np.float64)
    absmax = np.abs(grouped(weights, scheme)).max(axis=-1, keepdims=True) / scheme.highest
    scale = np.maximum(absmax.astype(np.float16).astype(np.float64), SMALLEST_FP16)
    codes = np.clip(np.rint(grouped(weights, scheme) / scale), lowest(scheme), scheme.highest)
    plain = (codes * scale).reshape(values.shape)
    _assert_no_worse(weights, restored, plain, scheme)


@given(rows(), st.sampled_from(ASYMMETRIC))
@settings(max_examples=200)
def test_the_search_is_never_worse_than_min_and_max(
    values: NDArray[np.float32], scheme: IntegerScheme
) -> None:
    restored, _, _ = dequantised(values, scheme)
    weights = values.astype(np.float64)
    groups = grouped(weights, scheme)
    least, most = np.minimum(groups.min(-1, keepdims=True), 0), np.maximum(groups.max(-1, keepdims=True), 0)
    step = (most - least) / (scheme.highest - scheme.lowest)
    scale = np.maximum(step.astype(np.float16).astype(np.float64), SMALLEST_FP16)
    zero = np.clip(np.rint(scheme.lowest - least / scale), scheme.lowest, scheme.highest)
    codes = np.clip(np.rint(groups / scale) + zero, scheme.lowest, scheme.highest)
    plain = ((codes - zero) * scale).reshape(values.shape)
    _assert_no_worse(weights, restored, plain, scheme)


def _assert_no_worse(
    weights: NDArray[np.float64],
    found: NDArray[np.float64],
    plain: NDArray[np.float64],
    scheme: IntegerScheme,
) -> None:
    slack = 1e-6 * (grouped(np.abs(weights), scheme) ** 3).sum(axis=-1)  # errors are summed in float32
    error, most = weighted_error(weights, found, scheme), weighted_error(weights, plain, scheme)
    assert (error <= most + slack).all()


@given(st.integers(0, 2**32 - 1), st.sampled_from([s for s in ASYMMETRIC if s.bits < 8]))
def test_zero_points_pay_where_weights_lean_to_one_side(seed: int, scheme: IntegerScheme) -> None:
    values = np.random.default_rng(seed).gamma(2.0, size=(4, 256)).astype(np.float32)
    weights = values.astype(np.float64)
    with_zero_points, without = (
        weighted_error(weights, dequantised(values, each)[0], each).sum()
        for each in (scheme, SYMMETRIC[ASYMMETRIC.index(scheme)])
    )
    assert with_zero_points < 0.8 * without


@given(st.sampled_from(ALL), st.integers(1, 3))
def test_zeros_stay_zeros(scheme: IntegerScheme, count: int) -> None:
    restored, _, found = dequantised(np.zeros((count, 128), np.float32), scheme)
    assert not found.codes.any()
    assert not restored.any()


@given(rows(), st.sampled_from(ALL))
def test_a_row_is_quantised_the_same_in_any_company(
    values: NDArray[np.float32], scheme: IntegerScheme
) -> None:
    together = quantize_rows(values, scheme)
    for i in range(len(values)):
        _assert_same(quantize_rows(values[i : i + 1], scheme), _rows_of(together, i, i + 1))


@given(rows(), st.sampled_from(ALL))
def test_two_threads_give_the_bytes_of_one(values: NDArray[np.float32], scheme: IntegerScheme) -> None:
    halves = [values[: len(values) // 2], values[len(values) // 2 :]]
    with ThreadPoolExecutor(2) as threads:
        first, second = threads.map(lambda half: quantize_rows(half, scheme), halves)
    together, middle = quantize_rows(values, scheme), len(values) // 2
    _assert_same(first, _rows_of(together, 0, middle))
    _assert_same(second, _rows_of(together, middle, len(values)))


def _rows_of(found: FoundCodes, start: int, stop: int) -> FoundCodes:
    zero_points = None if found.zero_points is None else found.zero_points[start:stop]
    return FoundCodes(found.codes[start:stop], found.scales[start:stop], zero_points)


def _assert_same(found: FoundCodes, expected: FoundCodes) -> None:
    np.testing.assert_array_equal(found.codes, expected.codes)
    np.testing.assert_array_equal(found.scales.view(np.uint16), expected.scales.view(np.uint16))
    if found.zero_points is None or expected.zero_points is None:
        assert found.zero_points is expected.zero_points
    else:
        np.testing.assert_array_equal(found.zero_points, expected.zero_points)


@pytest.mark.parametrize("scheme", ALL, ids=lambda scheme: scheme.name)
def test_a_weight_that_no_scale_reaches_is_refused(scheme: IntegerScheme) -> None:
    values = np.zeros((2, 128), np.float32)
    values[1, 3] = -1e9
    with pytest.raises(
        OverflowError, match=r"a weight of magnitude 1000000000\.0 needs a scale beyond fp16"
    ):
        quantize_rows(values, scheme)
