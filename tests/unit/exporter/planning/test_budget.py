"""Budgets of mixed recipes: bytes with a unit, or bits a weight."""

from __future__ import annotations

import pytest

from exporter.errors import RecipeError
from exporter.models.text.spec import Role, WeightSpec
from exporter.planning.budget import Budget, parse_budget
from exporter.planning.recipe import load_recipe

MODEL = (
    WeightSpec("a", (10, 100), Role.LINEAR),
    WeightSpec("b", (20, 50), Role.EMBEDDING),
    WeightSpec("c", (7,), Role.NORM),
)


@pytest.mark.parametrize(
    ("asked", "count"),
    [("mixed:246MB", 246_000_000), ("mixed:0.5GiB", 2**29), ("mixed:1234B", 1234), ("mixed:2KB", 2000)],
)
def test_a_size_with_a_unit_is_bytes(asked: str, count: int) -> None:
    assert parse_budget(asked).most(MODEL) == count


def test_a_number_alone_is_bits_of_every_weight_of_a_matrix() -> None:
    assert parse_budget("mixed:4.8") == Budget("4.8", None, 4.8)
    assert parse_budget("mixed:4.8").most(MODEL) == 1200
    assert parse_budget("mixed:4.803").most(MODEL) == 1200, "never above it"


@pytest.mark.parametrize(
    ("asked", "complaint"),
    [
        ("mixed:", "names no budget; give bytes like mixed:246MB or mixed:0.9GiB, or bits"),
        ("mixed:small", "names no budget"),
        ("mixed:-3MB", "names no budget"),
        ("mixed:0MB", "names no budget"),
        ("mixed:nan", "names no budget"),
        ("mixed:4.8 bits", "names no budget"),
        ("mixed:٤.8", "names no budget"),
        (f"mixed:{'9' * 400}GB", "names no budget"),
        ("mixed:0", "a number without a unit is bits a weight, above 0 and up to 32"),
        ("mixed:246000000", "bits a weight"),
    ],
)
def test_what_is_no_budget_is_refused_with_what_would_be(asked: str, complaint: str) -> None:
    with pytest.raises(RecipeError, match=complaint):
        parse_budget(asked)


def test_a_budget_is_a_recipe_whose_schemes_are_still_to_be_chosen() -> None:
    recipe, int4 = load_recipe("mixed:246MB"), load_recipe("int4")
    assert recipe.name == "mixed-246MB"
    assert recipe.budget == Budget("246MB", 246_000_000, None)
    assert (recipe.equalization, recipe.calibration) == (int4.equalization, int4.calibration)
    assert [rule.scheme.name for rule in recipe.rules] == ["int8-channel"]
