"""Refinement held to what its sums are by definition, in float64, over several blocks and groups.

Not about what it is worth: tests/properties/test_calibrated_properties.py.
"""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

from exporter.quantization.methods.error_feedback import Levels, product, round_to_nearest
from exporter.quantization.methods.moments_factor import MomentsFactor, factor_moments
from exporter.quantization.methods.refinement import (
    _system,
    improve_levels,
    output_errors,
    refit_scales,
)
from exporter.schemes import INT4_CHANNEL, INT4_G32, INT4_G32_ZP, IntegerScheme

INPUTS, ROWS = 416, 24  # three blocks and a quarter, thirteen groups
SCHEMES = (INT4_G32, INT4_G32_ZP, INT4_CHANNEL)


def found_for(scheme: IntegerScheme) -> tuple[NDArray[np.float32], MomentsFactor, Levels]:
    random = np.random.default_rng(5)
    seen = random.standard_normal((2 * INPUTS, INPUTS)) @ random.standard_normal((INPUTS, INPUTS))
    second: NDArray[np.float32] = (seen.T @ seen / len(seen)).astype(np.float32)
    factor = factor_moments(second, scheme.group or INPUTS, 0.03)
    targets = random.standard_normal((INPUTS, ROWS)).astype(np.float32)
    return targets, factor, round_to_nearest(targets, factor, scheme)


def errors_by_definition(
    targets: NDArray[np.float32], factor: MomentsFactor, found: Levels
) -> NDArray[np.float64]:
    error = targets.astype(np.float64) - found.weights()
    errors: NDArray[np.float64] = np.einsum("ir,ij,jr->r", error, factor.second.astype(np.float64), error)
    return errors


@pytest.mark.parametrize("scheme", SCHEMES, ids=lambda scheme: scheme.name)
def test_errors_of_outputs_are_what_they_are_by_definition(scheme: IntegerScheme) -> None:
    targets, factor, found = found_for(scheme)
    wanted = errors_by_definition(targets, factor, found)
    np.testing.assert_allclose(output_errors(targets, factor, found), wanted, rtol=1e-4)


@pytest.mark.parametrize("cached", [1, 32 * ROWS * 3, 1 << 17], ids=lambda cached: f"{cached} at a time")
def test_levels_of_two_groups_come_to_the_same_in_any_parts(
    cached: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("exporter.quantization.methods.refinement.CACHED", cached)
    _, factor, found = found_for(INT4_G32)
    levels = found.levels.astype(np.float64).reshape(len(found.scales), -1, ROWS)
    second = factor.second.astype(np.float64).reshape(*levels.shape[:2], *levels.shape[:2])
    wanted = np.einsum("gir,gihj,hjr->ghr", levels, second, levels, optimize=True)
    made = _system(factor.second, found)
    np.testing.assert_allclose(made, wanted, atol=1e-5 * np.abs(wanted).max())
    np.testing.assert_array_equal(made, made.transpose(1, 0, 2))


@pytest.mark.parametrize("scheme", SCHEMES, ids=lambda scheme: scheme.name)
def test_no_row_loses_by_any_step_and_most_gain_by_each(scheme: IntegerScheme) -> None:
    targets, factor, found = found_for(scheme)
    aimed = product(factor.second, targets)
    for step in ("refit", "improve", "refit", "improve"):
        before = errors_by_definition(targets, factor, found)
        if step == "refit":
            refit_scales(aimed, factor, found)
        else:
            known = improve_levels(targets, factor, scheme, found)
            np.testing.assert_allclose(known, errors_by_definition(targets, factor, found), rtol=1e-4)
        after = errors_by_definition(targets, factor, found)
        assert (after <= before * (1 + 1e-4)).all(), step
        assert step == "refit" or np.median(after / before) < 0.97, step


def test_no_single_column_is_left_that_would_be_better_elsewhere() -> None:
    """A gradient that was not brought up to date leaves some: rounds end where no level moves."""
    targets, factor, found = found_for(INT4_G32)
    for _ in range(60):
        before = found.levels.copy()
        improve_levels(targets, factor, INT4_G32, found)
        if np.array_equal(before, found.levels):
            break
    else:
        pytest.fail("levels still move after sixty rounds")
    error = targets.astype(np.float64) - found.weights()
    second = factor.second.astype(np.float64)
    pull, energy = second @ error, np.diagonal(second)
    scales = np.repeat(found.scales.astype(np.float64), INPUTS // len(found.scales), axis=0)
    for way in (-1, 1):
        moved = way * scales
        gained = 2 * moved * pull - energy[:, None] * moved**2
        allowed = (found.levels + way >= INT4_G32.lowest) & (found.levels + way <= INT4_G32.highest)
        assert (gained[allowed] <= 1e-4 * np.abs(pull * moved)[allowed]).all()
