"""`FidelityClass`: how near to the original a recipe promises to stay, in four words.

A device profile asks for one; a recipe's own limit on what quantising may cost says which it is in. Not
about what was measured of a release (`exporter.validation`).
"""

from __future__ import annotations

from typing import Literal, get_args

from exporter.planning.recipe import Recipe

FidelityClass = Literal["exact", "near-lossless", "calibrated", "rough"]
"""exact: half precision. near-lossless: int8. calibrated: 4 bits in groups, found on calibration text.
rough: whatever is left, for a first look."""

CLASSES: tuple[FidelityClass, ...] = get_args(FidelityClass)  # the best first

# Mean KL in nats that a recipe of the class may cost at most, over every language.
MOST_KL: dict[FidelityClass, float] = {"exact": 1e-4, "near-lossless": 0.01, "calibrated": 0.2}


def fidelity_of(recipe: Recipe) -> FidelityClass:
    """The class a recipe's limit puts it in."""
    limit = recipe.quantisation.mean_kl
    return next((each for each in CLASSES if limit <= MOST_KL.get(each, float("inf"))), "rough")


def is_below(found: FidelityClass, asked: FidelityClass) -> bool:
    """Whether a class promises less than another."""
    return CLASSES.index(found) > CLASSES.index(asked)
