"""Choices within a budget, whatever the losses: never above it, and never worse than any other choice."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import pairwise, product

import pytest
from hypothesis import given
from hypothesis import strategies as st

from exporter.planning import mixture
from exporter.planning.mixture import Option, choose, largest, smallest, total_bytes, total_loss

BYTES = st.integers(1, 60).map(lambda count: 16 * count)
LOSSES = st.floats(0, 10, allow_subnormal=False)


@st.composite
def some_options(draw: st.DrawFn, most: int = 5) -> dict[str, tuple[Option, ...]]:
    """Two to four schemes for each of a few matrices, not always fewer bytes for more loss."""
    count = draw(st.integers(1, most))
    schemes = ["int4", "int8", "fp16", "fp32"][: draw(st.integers(2, 4))]
    return {
        f"m{number}": tuple(Option(scheme, draw(BYTES), draw(LOSSES)) for scheme in schemes)
        for number in range(count)
    }


def every_choice(options: Mapping[str, Sequence[Option]]) -> list[dict[str, Option]]:
    return [dict(zip(options, each, strict=True)) for each in product(*options.values())]


@given(some_options(), st.floats(0, 1.2))
def test_no_choice_within_the_budget_loses_less(
    options: dict[str, tuple[Option, ...]], share: float
) -> None:
    most = smallest(options) + int(share * (largest(options) - smallest(options)))
    choice = choose(options, most)
    assert total_bytes(choice) <= most
    assert all(choice[name] in some for name, some in options.items())
    best = min(total_loss(each) for each in every_choice(options) if total_bytes(each) <= most)
    assert total_loss(choice) == pytest.approx(best, abs=1e-12)


@given(some_options(), st.lists(st.floats(0, 1.2), min_size=2, max_size=6))
def test_a_larger_budget_never_loses_more(
    options: dict[str, tuple[Option, ...]], shares: list[float]
) -> None:
    span = largest(options) - smallest(options)
    budgets = [smallest(options) + int(share * span) for share in sorted(shares)]
    losses = [total_loss(choose(options, most)) for most in budgets]
    assert all(after <= before + 1e-12 for before, after in pairwise(losses))


@given(some_options(), st.floats(0, 1.2), st.sampled_from([4, 16, 64]))
def test_a_coarse_grid_keeps_to_the_budget_and_stays_no_worse_than_one_scheme_for_all(
    options: dict[str, tuple[Option, ...]], share: float, steps: int
) -> None:
    most = smallest(options) + int(share * (largest(options) - smallest(options)))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(mixture, "LARGEST_GRID", steps)
        patch.setattr(mixture, "STEPS", steps)
        choice = choose(options, most)
        larger = choose(options, most + 48)
    assert total_bytes(choice) <= most
    assert total_loss(larger) <= total_loss(choice) + 1e-12
    for scheme in ("int4", "int8", "fp16", "fp32"):
        alike = [each for some in options.values() for each in some if each.scheme == scheme]
        if len(alike) == len(options) and sum(each.bytes for each in alike) <= most:
            assert total_loss(choice) <= sum(each.loss for each in alike) + 1e-12


@given(some_options())
def test_a_budget_below_the_smallest_choice_is_refused(options: dict[str, tuple[Option, ...]]) -> None:
    with pytest.raises(ValueError, match="1 too few"):
        choose(options, smallest(options) - 1)
