"""`decide`: a scheme for every matrix, and whether the codes its source holds stay as they are.

Codes are taken over where they are exactly the scheme the recipe asks for, or where its rule keeps
what is stored, and every runtime of the export can carry them: all share one quantised checkpoint.
Not about finding codes or reading them.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from exporter.checkpoints.interface import HeldCodes
from exporter.errors import PlanError
from exporter.models.text.spec import ModelSpec
from exporter.planning.recipe import Recipe, Rule
from exporter.schemes import IntegerScheme, Scheme, scheme_holding


@dataclass(frozen=True)
class Carrier:
    """What a runtime family stores without change.

    schemes: by name. negative_scales: whether scales of groups may be below 0, as GGUF's may.
    """

    schemes: frozenset[str]
    negative_scales: bool


@dataclass(frozen=True)
class Decision:
    """For one matrix. taken_over: its source's codes are kept. refusal: why codes that could have been
    kept are not, in words; None where there are none, or they are."""

    scheme: Scheme
    taken_over: bool
    refusal: str | None


def decide(
    spec: ModelSpec, recipe: Recipe, held: Mapping[str, HeldCodes], carriers: Mapping[str, Carrier]
) -> dict[str, Decision]:
    """A decision for every matrix.

    held: of the source, by matrix. carriers: by runtime family ("litert"). Raises RecipeError for a
    recipe that is not total, and PlanError for one that keeps what is stored where nothing can be kept.
    """
    rules = recipe.rules_for(spec)
    # Equalising rewrites the weights, so there is nothing left to take over.
    there = held if recipe.equalization is None else {}
    decisions = {name: _decide(rule, there.get(name), carriers) for name, rule in rules.items()}
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


def _decide(rule: Rule, held: HeldCodes | None, carriers: Mapping[str, Carrier]) -> Decision:
    stored = None if held is None else scheme_holding(held)
    if held is None or stored is None or not (rule.keep_stored or stored == rule.scheme):
        return Decision(rule.scheme, False, None)
    refusals = [
        f"{family} {why}"
        for family, carrier in carriers.items()
        if (why := _refusal(stored, held, carrier)) is not None
    ]
    if refusals:
        return Decision(rule.scheme, False, "; ".join(refusals))
    return Decision(stored, True, None)


def _refusal(stored: IntegerScheme, held: HeldCodes, carrier: Carrier) -> str | None:
    if stored.name not in carrier.schemes:
        return f"cannot carry {stored.name}"
    if held.negative and not carrier.negative_scales:
        return "takes no scale below 0"
    return None
