"""`share_out`: which formats get the recipe that was asked for, and which the one it names instead.

A recipe may be better than what one of the runtimes can carry. It then says which other one is for that
runtime, so that nobody's release is as poor as the poorest's. Not about accelerators, for which a scheme by
groups becomes one by row within a plan (`decisions`).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from exporter.errors import PlanError, RecipeError
from exporter.formats.table import families_of, family_of
from exporter.planning.recipe import Recipe, load_recipe
from runtimes.formats import Format


@dataclass(frozen=True)
class Share:
    """Formats that are made by one recipe."""

    recipe: Recipe
    formats: tuple[Format, ...]


def share_out(recipe: Recipe, formats: Sequence[Format]) -> tuple[Share, ...]:
    """The recipe's own formats first. A runtime that can carry neither is left to the plan, which says
    what it cannot.

    Raises PlanError where no format at all can carry the recipe and it names others: whoever asked for it
    would get nothing of it. Raises RecipeError where two would have one name.
    """
    instead = {
        family.name: recipe.instead[family.name]
        for family in families_of(formats)
        if family.name in recipe.instead and not all(family.carries(rule.scheme) for rule in recipe.rules)
    }
    names = {format: instead.get(family_of(format).name) for format in formats}
    if formats and None not in names.values():
        others = sorted(set(instead.values()))
        raise PlanError(
            f"recipe {recipe.name}",
            f"cannot be carried by {' and '.join(formats)}, and no other format was chosen",
            f"choose --recipe {' or '.join(others)}, which {recipe.name} names for them, or add a --format "
            "that can",
        )
    if recipe.name in instead.values():
        raise RecipeError(
            f"recipe {recipe.name}",
            "is called as the recipe that it names for other formats",
            "give the file another name",
        )
    shares = []
    for name in sorted(set(names.values()), key=lambda name: (name is not None, name)):
        own = tuple(format for format in formats if names[format] == name)
        shares.append(Share(recipe if name is None else load_recipe(name), own))
    return tuple(shares)
