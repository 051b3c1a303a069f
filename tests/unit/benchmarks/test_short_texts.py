"""What the documents say of limits on short texts is what drawing says."""

from __future__ import annotations

import pytest

from benchmarks.short_texts import OFF, POSITIONS, held_back
from exporter.planning.recipe import load_recipe
from exporter.validation.gates import SETTLED_ON

DRAWS = 4_000
STRAY = 0.01  # of a share of so many draws


@pytest.mark.parametrize("recipe", ["int8", "int4"])
@pytest.mark.parametrize(
    ("positions", "least", "most"),
    [(31, 0.03, 0.05), (63, 0.03, 0.06), (255, 0.11, 0.16), (SETTLED_ON, 0.47, 0.53)],
)
def test_a_release_at_its_limits_is_held_back_as_often_as_is_said(
    recipe: str, positions: int, least: float, most: float
) -> None:
    limit = load_recipe(recipe).quantisation
    for share in held_back(limit, positions, 1.0, DRAWS):
        assert least - STRAY < share < most + STRAY


@pytest.mark.parametrize("recipe", ["int8", "int4"])
def test_what_is_well_within_passes_at_any_length_and_what_is_far_beyond_does_not_from_255_on(
    recipe: str,
) -> None:
    limit = load_recipe(recipe).quantisation
    assert {0.75, 2.0} <= set(OFF)
    for positions in POSITIONS:
        assert max(held_back(limit, positions, 0.75, DRAWS)) < 0.05
        if positions >= 255:
            assert min(held_back(limit, positions, 2.0, DRAWS)) > 0.9
