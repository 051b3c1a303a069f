"""The product's story, from a checkpoint to releases that were run and compared.

    source → plan → quantised checkpoint → artifacts → validation → reports → release

Not about how any step works: each is a package of its own.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from exporter.checkpoints.interface import CheckpointSource
from exporter.checkpoints.open import open_checkpoint
from exporter.formats.table import family_of, paths_not_asked_for, paths_of
from exporter.job import PROMPTS, Job
from exporter.lowering.table import lowerings_for
from exporter.packaging.finishing import finish_release
from exporter.packaging.staging import require_free, staged_release
from exporter.packaging.working_directory import held_outputs, job_directory
from exporter.planning.estimates import device_estimates
from exporter.planning.memory import StageMemory, export_memory, require_memory
from exporter.planning.plan import Plan, make_plan
from exporter.progress import Progress
from exporter.quantization.calibrated_quantize import calibration_size
from exporter.reference.copy_text import copying_text
from exporter.reference.texts import Texts
from exporter.request import ExportRequest
from exporter.scheme_choice import require_choice, with_chosen_schemes
from exporter.stopwatch import Stopwatch
from exporter.validation.findings import ReleaseUnderTest
from exporter.validation.greedy import require_room_to_answer
from exporter.validation.replay import write_replay
from exporter.validation.report import ValidationReport
from exporter.validation.validate import validate_release
from exporter.views.card_quality import measured_quality
from exporter.views.release_files import write_views
from exporter.workshop import Workshop, require_calibration, workshop


@dataclass(frozen=True)
class ExportResult:
    """directory: the release, or where what did not pass is held back. estimates: sentences on what the
    variant's devices have room and bandwidth for, labelled as such."""

    report: ValidationReport
    published: bool
    directory: Path
    estimates: tuple[str, ...]


def export(request: ExportRequest, progress: Progress, stopwatch: Stopwatch) -> tuple[ExportResult, ...]:
    """Make a release of every variant and publish those of which every gate passed.

    Raises ExportError, before any work where the plans can tell, and leaves nothing half-written.
    """
    flags = request.flags
    with stopwatch.step("open and plan"):
        source = open_checkpoint(flags.model, flags.adapter)
        for each in request.variants:
            require_choice(source, each)
        plans = tuple(make_plan(source.components, each, source.held) for each in request.variants)
        texts = Texts.of(source)
        for plan in plans:
            require_room_to_answer(map(texts.prompt, PROMPTS), plan.variant.context)
            if flags.max_ram is not None:
                require_memory(planned_stages(source, plan, texts, flags.validation_tokens), flags.max_ram)
    outputs = release_directories(source.name, request)
    with held_outputs(outputs, flags.output) as held:
        for out in outputs:
            require_free(out, flags.force)
        with job_directory(held[0], "export") as work:
            job = Job(
                source=source,
                plans=plans,
                lowerings=lowerings_for([each for plan in plans for each in plan.variant.formats]),
                texts=texts,
                work=work,
                progress=progress,
                stopwatch=stopwatch,
                prefill_logits=flags.prefill_logits,
                token_limit=flags.validation_tokens,
                accelerators=flags.accelerators,
                calibration_files=flags.calibration,
            )
            require_calibration(job)
            return make_releases(with_chosen_schemes(job), outputs, flags.force)


def release_directories(model: str, request: ExportRequest) -> tuple[Path, ...]:
    """Where each variant's release goes: --output, below it under the recipes' names where there are
    several, or a name made of model, recipe and target."""
    output, variants = request.flags.output, request.variants
    if output is None:
        return tuple(Path("releases") / f"{model}-{each.recipe.name}-{each.name}" for each in variants)
    return (output,) if len(variants) == 1 else tuple(output / each.recipe.name for each in variants)


def make_releases(job: Job, outputs: Sequence[Path], force: bool) -> tuple[ExportResult, ...]:
    """A release for each plan of the job, at the output of the same place in the order."""
    with workshop(job) as shop:
        return tuple(
            _release(job, plan, shop, out, force) for plan, out in zip(job.plans, outputs, strict=True)
        )


def _release(job: Job, plan: Plan, shop: Workshop, out: Path, force: bool) -> ExportResult:
    spec = job.source.components["text"].spec
    plan = replace(plan, calibration=job.calibration_of(plan))
    with staged_release(out, force) as staging:
        release = staging.directory
        job.source.write_tokenizer(release)
        artifacts = shop.lower(plan, staging)
        subject = ReleaseUnderTest(
            release,
            artifacts,
            plan,
            shop.store(plan),
            paths=paths_of if job.accelerators else paths_not_asked_for,
        )
        with job.stopwatch.step("validate"):
            report = validate_release(job, subject, shop.baselines)
        with job.stopwatch.step("finish the release"):
            for artifact in artifacts:
                if family_of(artifact.format).replayed:
                    compared = job.texts.evaluation.cut(report.text_tokens)
                    write_replay(release, artifact, spec, compared.tokens)
            write_views(report, release)
            finish_release(release, job.source, plan, artifacts, measured_quality(report), job.progress)
        sizes = {run.format: run.bytes for run in report.runs}
        estimates = device_estimates(spec, plan, plan.variant.devices, sizes)
        if report.outcome != "passed":
            staging.hold_back()
    return ExportResult(report, report.outcome == "passed", staging.published, estimates)


def planned_stages(
    source: CheckpointSource, plan: Plan, texts: Texts, token_limit: int | None
) -> tuple[StageMemory, ...]:
    """What each stage takes of memory, for the texts in the checkpoint's own tokens."""
    context = plan.variant.context
    room = context if token_limit is None else min(context, token_limit)
    copied = copying_text(texts).within(room)
    compared = max(
        min(len(texts.evaluation.cut(token_limit).tokens), context),
        0 if copied is None else len(copied.tokens),
    )
    spec, calibrated = source.components["text"].spec, calibration_size()
    return export_memory(spec, plan, compared, calibrated)
