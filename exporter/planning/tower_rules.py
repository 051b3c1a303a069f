"""Which rule decides each matrix of a tower: a recipe's own where it has some, else these.

    linears             8-bit codes, one scale a row, nearest: no calibration text reaches a tower
    patches, positions  fp16: little of a tower, and everything passes through them

A recipe all of floats gives a float tower. Not about the text's rules (`recipe`).
"""

from __future__ import annotations

from exporter.errors import RecipeError
from exporter.models.components import Tower
from exporter.models.text.spec import Role
from exporter.planning.recipe import Recipe, Rule
from exporter.schemes import FP16, INT8_CHANNEL, FloatScheme, Scheme

LINEARS = "No calibration text reaches a tower, and nearest 8-bit codes per row cost it little."
OUTERMOST = "A small part of a tower, which all of a picture or a sound passes through."
FLOATS = "The recipe stores every matrix of the text model as floats."


def tower_rules(recipe: Recipe, tower: Tower) -> dict[str, Rule]:
    """The rule that decides each matrix. Raises RecipeError for a rule of the recipe that matches none."""
    matrices = [weight for weight in tower.weights if weight.is_matrix]
    own = recipe.vision if tower.name == "vision" else recipe.audio
    for rule in own:
        if not any(rule.matches(weight.name) for weight in matrices):
            raise RecipeError(
                f"recipe {recipe.name}",
                f"the {tower.name} rule for {', '.join(rule.patterns)} matches no weight of "
                f"{tower.spec.model_type}",
                "remove it, or correct the pattern",
            )
    return {
        weight.name: next(
            (rule for rule in own if rule.matches(weight.name)),
            _usual(recipe, weight.name, weight.role),
        )
        for weight in matrices
    }


def _usual(recipe: Recipe, name: str, role: Role) -> Rule:
    floats = [rule.scheme for rule in recipe.rules if isinstance(rule.scheme, FloatScheme)]
    scheme: Scheme
    if len(floats) == len(recipe.rules):
        scheme, reason = max(floats, key=lambda each: each.bits), FLOATS
    elif role is Role.TOWER_LINEAR:
        scheme, reason = INT8_CHANNEL, LINEARS
    else:
        scheme, reason = FP16, OUTERMOST
    keeps = any(rule.keep_stored for rule in recipe.rules)
    return Rule((name,), scheme, "nearest", keeps, reason)
