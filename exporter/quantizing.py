"""A quantised checkpoint alone: what an export begins with, for whoever wants that and no artifact.

    .NAME.work/quantize/   matrices as they are finished; a killed run's stay, and the next goes on to
                           the same bytes
    NAME/                  appears when all of it is there, with the tokenizer's files

Not about finding codes (`exporter.quantization`) or making releases (`exporter.pipeline`).
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from exporter.checkpoints.open import open_checkpoint
from exporter.job import Job
from exporter.models.components import wanted_components
from exporter.packaging.working_directory import held_output, job_directory
from exporter.placed_checkpoint import put_in_place, require_free_place
from exporter.planning.plan import make_plan
from exporter.planning.recipe import load_recipe
from exporter.planning.variants import Variant
from exporter.progress import Progress
from exporter.quantization.store.stored_size import StoredSize, stored_size
from exporter.reference.calibration_text import require_unseen
from exporter.reference.texts import Texts
from exporter.refusals import require_calibration
from exporter.scheme_choice import require_choice, with_chosen_schemes
from exporter.stopwatch import Stopwatch
from exporter.workshop import Workshop, store_name, workshop


@dataclass(frozen=True)
class QuantizeOrder:
    """recipe: a name or a .toml file. output: where the checkpoint goes. model: None for the sample.
    adapter: a PEFT LoRA directory to merge. components: as an export's. calibration: the user's text for
    finding codes, none for what ships. force: replace a quantised checkpoint that is there."""

    recipe: str
    output: Path
    model: str | None = None
    adapter: Path | None = None
    components: str | None = None
    calibration: tuple[Path, ...] = ()
    force: bool = False


@dataclass(frozen=True)
class QuantizedAlone:
    """directory: where it is. scheme_counts: scheme to the number of matrices that have it. taken_over:
    matrices whose codes are the source's."""

    model: str
    recipe: str
    directory: Path
    size: StoredSize
    scheme_counts: Mapping[str, int]
    taken_over: int


def quantize_alone(order: QuantizeOrder, progress: Progress, stopwatch: Stopwatch) -> QuantizedAlone:
    """Make the quantised checkpoint at `order.output`, whole or not at all.

    No runtime limits which schemes and codes it may have. Raises ExportError.
    """
    recipe = load_recipe(order.recipe)
    with held_output(order.output) as held:
        require_free_place(order.output, order.force)
        require_unseen(order.calibration)
        with stopwatch.step("open and plan"):  # a published model is fetched here
            source = open_checkpoint(order.model, order.adapter, wanted_components(order.components))
            context = source.components["text"].spec.context_length
            variant = Variant("quantised checkpoint", recipe, context, formats=(), devices=())
            require_choice(source, variant)
            plan = make_plan(source.components, variant, source.held)
            texts = Texts.of(source)
        with job_directory(held, "quantize") as work:
            job = Job(
                source=source,
                plans=(plan,),
                lowerings={},
                texts=texts,
                work=work,
                progress=progress,
                stopwatch=stopwatch,
                calibration_files=order.calibration,
            )
            require_calibration(job)
            job = with_chosen_schemes(job)
            (plan,) = job.plans
            with workshop(job) as shop:
                size = _write(job, shop)
            put_in_place(work / store_name(plan), Path(os.path.abspath(order.output)), order.force)
    return QuantizedAlone(
        model=source.name,
        recipe=plan.variant.recipe.name,
        directory=order.output,
        size=size,
        scheme_counts=plan.scheme_counts(),
        taken_over=len(plan.taken_over),
    )


def _write(job: Job, shop: Workshop) -> StoredSize:
    """The store of the job's only plan, with the tokenizer beside it."""
    (plan,) = job.plans
    checkpoint = shop.store(plan)
    job.source.write_tokenizer(checkpoint.directory)
    return stored_size(checkpoint)
