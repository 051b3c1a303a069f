"""Jobs of tiny models: what tests that validate, plan or seal need of one, and no more."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from exporter.checkpoints.interface import CheckpointSource
from exporter.job import Job
from exporter.lowering.interface import Lowering
from exporter.planning.plan import Plan, make_plan
from exporter.planning.recipe import Recipe, load_recipe
from exporter.planning.variants import Variant
from exporter.reference.texts import Texts
from exporter.stopwatch import Stopwatch
from exporter.validation.findings import ReleaseUnderTest
from exporter.validation.report import ValidationReport
from exporter.validation.validate import validate_release
from exporter.workshop import workshop
from runtimes.formats import Format
from tests.fakes import silent


def a_variant(
    recipe: Recipe | str, formats: tuple[Format, ...], context: int = 64, name: str = "desktop"
) -> Variant:
    """For no device in particular."""
    chosen = load_recipe(recipe) if isinstance(recipe, str) else recipe
    return Variant(name, chosen, context, formats, devices=())


def a_plan(source: CheckpointSource, variant: Variant) -> Plan:
    return make_plan(source.components, variant, source.held)


def a_job(
    source: CheckpointSource,
    plans: tuple[Plan, ...],
    lowerings: Mapping[str, Lowering],
    work: Path,
    token_limit: int | None = None,
) -> Job:
    work.mkdir(exist_ok=True)
    return Job(
        source=source,
        plans=plans,
        lowerings=lowerings,
        texts=Texts.of(source),
        work=work,
        progress=silent,
        stopwatch=Stopwatch(),
        token_limit=token_limit,
    )


def validated(job: Job, release: ReleaseUnderTest) -> ValidationReport:
    with workshop(job) as shop:
        return validate_release(job, release, shop.baselines)
