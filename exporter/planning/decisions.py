"""`decide`: a scheme for every matrix, and whether the codes its source holds stay as they are.

Codes are taken over where they are exactly the scheme the recipe asks for, or where its rule keeps
what is stored, and every runtime of the export can carry them: all share one quantised checkpoint.
Not about finding codes or reading them.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from exporter.checkpoints.interface import HeldCodes
from exporter.errors import PlanError
from exporter.formats.family import RuntimeFamily
from exporter.models.text.spec import ModelSpec
from exporter.planning.recipe import Recipe, Rule
from exporter.schemes import IntegerScheme, Scheme, scheme_holding


@dataclass(frozen=True)
class Decision:
    """For one matrix. taken_over: its source's codes are kept. refusal: why codes that could have been
    kept are not, in words; None where there are none, or they are."""

    scheme: Scheme
    taken_over: bool
    refusal: str | None


def decide(
    spec: ModelSpec, recipe: Recipe, held: Mapping[str, HeldCodes], families: Iterable[RuntimeFamily]
) -> dict[str, Decision]:
    """A decision for every matrix.

    held: of the source, by matrix. families: of every runtime of the export. Raises RecipeError for a
    recipe that is not total, and PlanError for one that keeps what is stored where nothing can be kept.
    """
    rules, every = recipe.rules_for(spec), tuple(families)
    # Equalising rewrites the weights, so there is nothing left to take over.
    there = held if recipe.equalization is None else {}
    decisions = {name: _decide(rule, there.get(name), every) for name, rule in rules.items()}
    keeping = [decisions[name] for name, rule in rules.items() if rule.keep_stored]
    if keeping and not any(decision.taken_over for decision in keeping):
        why = next((decision.refusal for decision in keeping if decision.refusal is not None), None)
        raise PlanError(
            f"recipe {recipe.name}",
            "keeps the integer codes a checkpoint holds, and this one "
            + ("holds none that a scheme has exactly" if why is None else f"holds none to keep: {why}"),
            "choose int8 or int4 for it" + ("" if why is None else ", or other formats"),
        )
    return decisions


def _decide(rule: Rule, held: HeldCodes | None, families: tuple[RuntimeFamily, ...]) -> Decision:
    stored = None if held is None else scheme_holding(held)
    if held is None or stored is None or not (rule.keep_stored or stored == rule.scheme):
        return Decision(rule.scheme, False, None)
    refusals = [
        f"{family.name} {why}" for family in families if (why := _refusal(stored, held, family)) is not None
    ]
    if refusals:
        return Decision(rule.scheme, False, "; ".join(refusals))
    return Decision(stored, True, None)


def _refusal(stored: IntegerScheme, held: HeldCodes, family: RuntimeFamily) -> str | None:
    if not family.carries(stored):
        return f"cannot carry {stored.name}"
    return family.negative_scales if held.negative else None
