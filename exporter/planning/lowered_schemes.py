"""`lowered_schemes`: what a plan gives fewer scales than its recipe says, as an accelerator takes no more.

Four bits with a scale for each row cost several times what they cost in groups, so a recipe's promise does
not hold for them. Not about making the plan (`exporter.planning.decisions`).
"""

from __future__ import annotations

from exporter.models.text.spec import ModelSpec
from exporter.planning.plan import Plan
from exporter.schemes import IntegerScheme


def lowered_schemes(spec: ModelSpec, plan: Plan) -> str | None:
    """A clause in plain words; None where every matrix has at least its recipe's scheme, or the codes its
    source holds."""
    rules, taken_over = plan.variant.recipe.rules_for(spec), plan.taken_over
    lowered = {
        (scheme.bits, asked.group)
        for name, scheme in plan.components["text"].schemes.items()
        if name not in taken_over
        and isinstance(scheme, IntegerScheme)
        and isinstance(asked := rules[name].scheme, IntegerScheme)
        and scheme.group is None
        and asked.group is not None
    }
    if not lowered:
        return None
    shared = " and ".join(
        f"{bits}-bit weights share one scale a row and not one every {group}"
        for bits, group in sorted(lowered)
    )
    return (
        f"{shared}, as the accelerator takes no groups, which loses more than "
        f"{plan.variant.recipe.name} promises"
    )
