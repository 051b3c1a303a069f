"""`lowered_schemes`: what a plan gives fewer scales than its recipe says, as an accelerator takes no more.

Four bits with a scale for each row cost several times what they cost in groups, so a recipe's promise does
not hold for them. Not about making the plan (`exporter.planning.decisions`).
"""

from __future__ import annotations

from exporter.models.text.spec import ModelSpec
from exporter.planning.plan import Plan
from exporter.schemes import IntegerScheme


def lowered_schemes(spec: ModelSpec, plan: Plan) -> str | None:
    """A clause; None where every matrix has at least its recipe's scheme, or the codes its source holds."""
    rules, taken_over = plan.variant.recipe.rules_for(spec), plan.taken_over
    lowered = {
        (rules[name].scheme.name, scheme.name)
        for name, scheme in plan.components["text"].schemes.items()
        if name not in taken_over
        and isinstance(scheme, IntegerScheme)
        and isinstance(asked := rules[name].scheme, IntegerScheme)
        and scheme.group is None
        and asked.group is not None
    }
    if not lowered:
        return None
    words = " and ".join(f"{asked} would become {scheme}" for asked, scheme in sorted(lowered))
    return f"{words}, which loses more than the recipe promises"
