"""Codes by error feedback, whatever the weights and moments: bounds that no input may break."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from exporter.quantization.methods.calibrated import Calibrated, calibrated_rows
from exporter.quantization.methods.interface import FoundCodes, InputMoments
from exporter.quantization.methods.moments_factor import MomentsFactor, factor_moments
from exporter.quantization.methods.nearest import quantize_rows
from exporter.schemes import INT8_CHANNEL, IntegerScheme
from tests.properties.test_quantizer_properties import ALL, rows

DAMPING = 0.01


@st.composite
def moments(draw: st.DrawFn) -> tuple[int, float, float]:
    """seed, share of inputs that never varied, and how far sizes of inputs are apart, in powers of ten."""
    return draw(st.integers(0, 2**32 - 1)), draw(st.sampled_from([0.0, 0.3, 1.0])), draw(st.floats(0, 3))


def second_moments(inputs: int, drawn: tuple[int, float, float]) -> NDArray[np.float32]:
    seed, silent, spread = drawn
    random = np.random.default_rng(seed)
    mixed = random.standard_normal((inputs, inputs)) * 0.3 + np.eye(inputs)
    seen = random.standard_normal((inputs // 2, inputs)) @ mixed  # fewer tokens than inputs
    seen *= 10.0 ** (spread * random.random(inputs)) * (random.random(inputs) >= silent)
    found: NDArray[np.float32] = (seen.T @ seen / len(seen)).astype(np.float32)
    return found


def factor(second: NDArray[np.float32], scheme: IntegerScheme) -> MomentsFactor:
    return factor_moments(second, scheme.group or len(second), DAMPING)


def weights_of(found: FoundCodes) -> NDArray[np.float64]:
    groups = found.scales.shape[1]
    levels = found.codes.astype(np.float64).reshape(len(found.codes), groups, -1)
    if found.zero_points is not None:
        levels = levels - found.zero_points[:, :, None]
    values = np.asarray(levels * found.scales[:, :, None].astype(np.float64), np.float64)
    return values.reshape(found.codes.shape)


def output_error(
    values: NDArray[np.float32], found: FoundCodes, second: NDArray[np.float32]
) -> NDArray[np.float64]:
    """Of each row, with the damping that the method counts too."""
    damped = second.astype(np.float64) + np.eye(len(second)) * (DAMPING * np.diagonal(second).mean() or 1.0)
    error = values.astype(np.float64) - weights_of(found)
    errors: NDArray[np.float64] = np.einsum("ri,ij,rj->r", error, damped, error)
    return errors


@pytest.mark.parametrize("scheme", ALL, ids=lambda scheme: scheme.name)
@settings(max_examples=12)
@given(values=rows(), drawn=moments())
def test_no_row_loses_by_feedback(
    scheme: IntegerScheme, values: NDArray[np.float32], drawn: tuple[int, float, float]
) -> None:
    second = second_moments(values.shape[1], drawn)
    damped = np.diagonal(second) + np.float32(DAMPING * np.diagonal(second).mean() or 1.0)
    found = calibrated_rows(values, scheme, factor(second, scheme), rounds=1)
    plain = quantize_rows(values, scheme, damped)
    ours, nearest = output_error(values, found, second), output_error(values, plain, second)
    size = np.einsum("ri,ij,rj->r", values, second.astype(np.float64), values)
    assert (ours <= nearest * (1 + 1e-3) + 1e-6 * size).all()


@pytest.mark.parametrize("scheme", ALL, ids=lambda scheme: scheme.name)
@settings(max_examples=8)
@given(values=rows(), drawn=moments())
def test_codes_and_zero_points_are_the_schemes_and_scales_are_positive(
    scheme: IntegerScheme, values: NDArray[np.float32], drawn: tuple[int, float, float]
) -> None:
    found = calibrated_rows(
        values, scheme, factor(second_moments(values.shape[1], drawn), scheme), rounds=2
    )
    lowest = -127 if scheme.bits == 8 and not scheme.zero_points else scheme.lowest
    assert found.codes.min() >= lowest
    assert found.codes.max() <= scheme.highest
    assert np.isfinite(found.scales).all()
    assert (found.scales > 0).all()
    if found.zero_points is not None:
        assert found.zero_points.min() >= scheme.lowest
        assert found.zero_points.max() <= scheme.highest


def test_rows_get_the_same_codes_on_one_thread_and_on_two() -> None:
    random = np.random.default_rng(7)
    values = random.standard_normal((4096, 128)).astype(np.float32)
    second = second_moments(128, (7, 0.0, 1.0))
    scheme = ALL[7]  # 4 bits in groups of 32
    assert (scheme.bits, scheme.group) == (4, 32)
    known = factor(second, scheme)
    whole = calibrated_rows(values, scheme, known, rounds=1)
    with ThreadPoolExecutor(2) as workers:
        halves = list(
            workers.map(lambda part: calibrated_rows(part, scheme, known, rounds=1), np.split(values, 2))
        )
    np.testing.assert_array_equal(whole.codes, np.concatenate([half.codes for half in halves]))
    np.testing.assert_array_equal(whole.scales, np.concatenate([half.scales for half in halves]))


def test_feedback_is_worth_having() -> None:
    """Else all that is above holds for the nearest codes alone."""
    random = np.random.default_rng(3)
    values = random.standard_normal((64, 256)).astype(np.float32)
    second = second_moments(256, (3, 0.0, 0.0))
    scheme = ALL[7]
    found = calibrated_rows(values, scheme, factor(second, scheme), rounds=1)
    plain = quantize_rows(values, scheme, np.diagonal(second).copy())
    gained = output_error(values, found, second).sum() / output_error(values, plain, second).sum()
    assert gained < 0.5


def test_moments_of_few_tokens_are_believed_less_and_codes_lose_less_on_other_text() -> None:
    random, inputs, tokens = np.random.default_rng(11), 128, 256
    mixed = random.standard_normal((inputs, inputs)).astype(np.float32) * 0.03 + np.eye(
        inputs, dtype=np.float32
    )
    seen = random.standard_normal((tokens, inputs)).astype(np.float32) @ mixed
    values = random.standard_normal((64, inputs)).astype(np.float32)
    second: NDArray[np.float32] = (seen.T @ seen / tokens).astype(np.float32)
    scheme, truth = ALL[7], mixed.T @ mixed
    believed = factor(second, scheme)
    doubted = Calibrated("").factor(InputMoments(second, tokens), scheme)
    whole, less = (calibrated_rows(values, scheme, each, rounds=1) for each in (believed, doubted))
    assert output_error(values, less, truth).sum() < 0.97 * output_error(values, whole, truth).sum()


@pytest.mark.parametrize("inputs", [256, 640])
def test_what_a_text_begins_with_comes_out_nearer_and_the_rest_hardly_farther(inputs: int) -> None:
    random, scheme = np.random.default_rng(13), ALL[7]
    second = second_moments(inputs, (5, 0.0, 0.0))
    begins = random.standard_normal(inputs).astype(np.float32)
    values = random.standard_normal((64, inputs)).astype(np.float32)
    known = [InputMoments(second, 25_600, opening) for opening in (None, begins)]
    plain, minded = (
        calibrated_rows(values, scheme, Calibrated("").factor(each, scheme), rounds=1) for each in known
    )
    at_first = np.outer(begins, begins)
    assert output_error(values, minded, at_first).sum() < 0.05 * output_error(values, plain, at_first).sum()
    assert output_error(values, minded, second).sum() < 1.1 * output_error(values, plain, second).sum()


def test_codes_of_8_bits_make_nothing_of_what_a_text_begins_with() -> None:
    second = second_moments(64, (5, 0.0, 0.0))
    begins = np.ones(64, np.float32)
    known = [InputMoments(second, 25_600, opening) for opening in (None, begins)]
    plain, minded = (Calibrated("").factor(each, INT8_CHANNEL) for each in known)
    np.testing.assert_array_equal(plain.second, minded.second)


@pytest.mark.parametrize("scheme", [INT8_CHANNEL, ALL[7]], ids=lambda scheme: scheme.name)
def test_the_doubt_falls_with_text_and_spares_codes_of_8_bits(scheme: IntegerScheme) -> None:
    second = second_moments(64, (5, 0.0, 0.0))

    def apart(tokens: int) -> float:
        """How much of what different inputs have in common is left."""
        found = Calibrated("").factor(InputMoments(second, tokens), scheme)
        ordered = second[np.ix_(found.order, found.order)]
        return float(found.second[0, 1] / ordered[0, 1])

    few, many = apart(64), apart(64_000)
    if scheme.bits == 8:
        assert few == many == 1.0
    else:
        assert few < 0.5 < 0.95 < many < 1.0


def test_wide_rows_and_codes_of_8_bits_are_refined_less() -> None:
    method, scheme = Calibrated(""), ALL[7]
    assert method.rounds_of(scheme, 2048) == method.rounds > 1
    assert method.rounds_of(scheme, 2304) == 1
    assert method.rounds_of(INT8_CHANNEL, 64) == 0
