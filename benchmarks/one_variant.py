"""One variant of one model, planned as the command would, for benchmarks that run a stage alone.

Not about measuring (`measured_process`).
"""

from __future__ import annotations

from pathlib import Path

from exporter.checkpoints.interface import CheckpointSource
from exporter.job import Job
from exporter.lowering.table import lowerings_for
from exporter.planning.plan import Plan, make_plan
from exporter.planning.recipe import load_recipe
from exporter.planning.variants import Variant
from exporter.reference.texts import Texts
from exporter.stopwatch import Stopwatch
from runtimes.formats import Format


def nothing(what: str, done: int, total: int) -> None:
    """Progress nobody watches."""


def plan_for(source: CheckpointSource, recipe: str, formats: tuple[Format, ...], context: int) -> Plan:
    """The plan of a variant for no device in particular."""
    variant = Variant("benchmark", load_recipe(recipe), context, formats, devices=())
    return make_plan(source.components, variant, source.held)


def job_for(source: CheckpointSource, plan: Plan, work: Path) -> Job:
    """A job of that one plan."""
    lowerings, texts = lowerings_for(plan.variant.formats), Texts.of(source)
    return Job(source, (plan,), lowerings, texts, work, nothing, Stopwatch())
