"""`decide`: a scheme for every matrix, and whether the codes its source holds stay as they are.

Codes are taken over where they are exactly the scheme the recipe asks for, or where its rule keeps
what is stored, and every runtime of the export can carry them: all share one quantised checkpoint. A
scheme with a scale for each group gives way to one for each row where an accelerator does not take it.
Not about finding codes or reading them.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from exporter.checkpoints.interface import HeldCodes
from exporter.errors import PlanError
from exporter.formats.family import RuntimeFamily
from exporter.formats.table import FAMILIES
from exporter.models.components import Tower
from exporter.models.text.spec import ModelSpec
from exporter.planning.recipe import MethodName, Recipe, Rule
from exporter.planning.tower_rules import tower_rules
from exporter.schemes import SYMMETRIC, IntegerScheme, Scheme, scheme_holding

FEW_BITS = 4


@dataclass(frozen=True)
class Decision:
    """For one matrix. taken_over: its source's codes are kept. refusal: why codes that could have been
    kept are not, or the recipe's scheme is not given, in words; None where neither is so. method: how its
    codes are found, where it has any and they are not taken over."""

    scheme: Scheme
    taken_over: bool
    refusal: str | None
    method: MethodName = "nearest"


def decide(
    spec: ModelSpec, recipe: Recipe, held: Mapping[str, HeldCodes], families: Iterable[RuntimeFamily]
) -> dict[str, Decision]:
    """A decision for every matrix.

    held: of the source, by matrix. families: of every runtime of the export. Raises RecipeError for a
    recipe that is not total, and PlanError for one that keeps what is stored where nothing can be kept.
    """
    rules, every = recipe.rules_for(spec), tuple(families)
    # Equalising rewrites the weights: nothing is left to take over, unless all that it is for is there.
    there = held if recipe.equalization is None or _is_there(recipe, rules, held) else {}
    decisions = {name: _decide(rule, there.get(name), every) for name, rule in rules.items()}
    keeping = [decisions[name] for name, rule in rules.items() if rule.keep_stored]
    if keeping and not any(decision.taken_over for decision in keeping):
        why = next((decision.refusal for decision in keeping if decision.refusal is not None), None)
        raise PlanError(
            f"recipe {recipe.name}",
            "keeps the integer codes a checkpoint holds, and this one "
            + ("holds none that a scheme has exactly" if why is None else f"holds none to keep: {why}"),
            "choose int8 or int4 for it, or take keep_stored out of a recipe of your own"
            + ("" if why is None else ", or choose other formats"),
        )
    return decisions


def decide_tower(
    tower: Tower, recipe: Recipe, held: Mapping[str, HeldCodes], families: Iterable[RuntimeFamily]
) -> dict[str, Decision]:
    """The same for every matrix of a tower, whose weights no recipe equalises, and which may hold no codes
    where the text does. Raises RecipeError for a rule that matches nothing."""
    every = tuple(families)
    return {name: _decide(rule, held.get(name), every) for name, rule in tower_rules(recipe, tower).items()}


def _is_there(recipe: Recipe, rules: Mapping[str, Rule], held: Mapping[str, HeldCodes]) -> bool:
    """Whether every matrix of few bits is held in the scheme asked for.

    Raises PlanError where every one is held in few bits of another scheme: finding new codes for those
    would lose what training or a better tool made of them.
    """
    asked = {
        name: rule.scheme
        for name, rule in rules.items()
        if isinstance(rule.scheme, IntegerScheme) and rule.scheme.bits <= FEW_BITS
    }
    stored = {name: scheme_holding(held[name]) for name in asked if name in held}
    if not asked or any(stored.get(name) is None for name in asked):
        return False
    if all(stored[name] == scheme for name, scheme in asked.items()):
        return True
    if all(scheme is not None and scheme.bits <= FEW_BITS for scheme in stored.values()):
        names = sorted({scheme.name for scheme in stored.values() if scheme is not None})
        raise PlanError(
            f"recipe {recipe.name}",
            f"would find new codes for a checkpoint whose matrices are {', '.join(names)} already",
            "choose as-stored, which keeps them, or start from the weights before they were quantised",
        )
    return False


def _decide(rule: Rule, held: HeldCodes | None, families: tuple[RuntimeFamily, ...]) -> Decision:
    scheme, why = _by_row(rule.scheme, families)
    stored = None if held is None else scheme_holding(held)
    if held is None or stored is None or not (rule.keep_stored or stored == rule.scheme):
        return Decision(scheme, False, why, rule.method)
    refusals = [
        f"{family.name} {why}" for family in families if (why := _refusal(stored, held, family)) is not None
    ]
    if refusals:
        return Decision(scheme, False, "; ".join(refusals), rule.method)
    return Decision(stored, True, None)


def _by_row(scheme: Scheme, families: tuple[RuntimeFamily, ...]) -> tuple[Scheme, str | None]:
    """The scheme, or that of as many bits with a scale for each row where it is only an accelerator that
    does not take it, and why."""
    refusing = [
        family
        for family in families
        if not family.carries(scheme) and FAMILIES[family.name].carries(scheme)
    ]
    if not refusing or not isinstance(scheme, IntegerScheme):
        return scheme, None
    by_row = next((each for each in SYMMETRIC if (each.bits, each.group) == (scheme.bits, None)), None)
    if by_row is None or not all(family.carries(by_row) for family in families):
        return scheme, None
    return by_row, f"not {scheme.name}: {'; '.join(family.other_schemes for family in refusing)}"


def _refusal(stored: IntegerScheme, held: HeldCodes, family: RuntimeFamily) -> str | None:
    if not family.carries(stored):
        return f"cannot carry {stored.name}"
    return family.negative_scales if held.negative else None
