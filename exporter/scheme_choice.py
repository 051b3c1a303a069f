"""Plans whose recipe has a budget, made with the schemes chosen for the model in hand.

    losses of every matrix measured → options within the budget → an ordinary recipe → an ordinary plan

Not about any of these steps (`quantization.sensitivity`, `planning.mixture`, `planning.mixed_recipe`).
"""

from __future__ import annotations

from dataclasses import replace

from exporter.checkpoints.interface import CheckpointSource
from exporter.job import Job
from exporter.models.components import towers_of
from exporter.models.text.spec import WeightSpec
from exporter.planning.mixed_recipe import candidates, mixed_recipe, within_release
from exporter.planning.plan import Plan, accelerated, make_plan
from exporter.planning.recipe import Recipe
from exporter.planning.variants import Variant
from exporter.quantization.rounding import Rounding
from exporter.quantization.sensitivity import SensitivityOrder, measure_losses
from exporter.workshop import equalised


def require_choice(source: CheckpointSource, variant: Variant) -> None:
    """Refuse a budget that cannot be met, and a source that may get no codes of few bits, before anything
    is measured. Raises RecipeError and PlanError."""
    if variant.recipe.budget is None:
        return
    schemes = candidates(weights_of(source), accelerated(variant))
    nothing = {name: {each.name: 0.0 for each in some} for name, some in schemes.items()}
    smallest = mixed_recipe(recipe_of(source, variant), weights_of(source), nothing)
    make_plan(source.components, replace(variant, recipe=smallest), source.held)


def with_chosen_schemes(job: Job) -> Job:
    """The same job, each of its plans of a recipe that is whole."""
    if all(plan.variant.recipe.budget is None for plan in job.plans):
        return job
    return replace(job, plans=tuple(_chosen(job, plan) for plan in job.plans))


def _chosen(job: Job, plan: Plan) -> Plan:
    variant, source = plan.variant, job.source
    if variant.recipe.budget is None:
        return plan
    with job.stopwatch.step("choose schemes"):
        order = sensitivity_order(job, plan)
        losses = measure_losses(order, job.progress)
        recipe = mixed_recipe(recipe_of(source, variant), weights_of(source), losses)
    made = make_plan(source.components, replace(variant, recipe=recipe), source.held)
    return replace(made, asked_context=plan.asked_context)


def sensitivity_order(job: Job, plan: Plan) -> SensitivityOrder:
    """What is measured for a plan whose recipe has a budget."""
    source, sizes = equalised(job, plan, by_row=(), in_groups=())  # what is measured has few bits
    schemes = candidates(weights_of(job.source), accelerated(plan.variant))
    return SensitivityOrder(job.source, Rounding(source, sizes), schemes, job.calibration, job.work)


def recipe_of(source: CheckpointSource, variant: Variant) -> Recipe:
    """The variant's, whose budget leaves room for its towers."""
    return within_release(variant.recipe, towers_of(source.components))


def weights_of(source: CheckpointSource) -> tuple[WeightSpec, ...]:
    """Of the text model: schemes are chosen for these, and a tower's rules are no choice."""
    return source.components["text"].weights
