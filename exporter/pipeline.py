"""The product's story, from a checkpoint to releases that were run and compared.

    source → plan → quantised checkpoint → artifacts → validation → reports → release

Not about how any step works: each is a package of its own.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from exporter.checkpoints.open import open_checkpoint
from exporter.formats.table import paths_not_asked_for, paths_of
from exporter.job import Job
from exporter.lowering.table import lowerings_for
from exporter.packaging.finishing import finish_release
from exporter.packaging.release_directories import release_directories
from exporter.packaging.staging import require_free, staged_release
from exporter.packaging.working_directory import held_outputs, job_directory
from exporter.planning.device_verdict import DeviceVerdict
from exporter.planning.plan import Plan
from exporter.planning.planned_model import PlannedModel
from exporter.planning.published_model import published_model
from exporter.planning.releases import plan_releases, require_releases
from exporter.progress import Progress, about
from exporter.reference.texts import Texts
from exporter.refusals import (
    require_before_fetching,
    require_calibration,
    require_makeable,
    require_media,
)
from exporter.request import ExportRequest
from exporter.scheme_choice import with_chosen_schemes
from exporter.stopwatch import Stopwatch
from exporter.validation.device_verdicts import device_verdicts
from exporter.validation.findings import ReleaseUnderTest
from exporter.validation.recording import Recording, write_recorded_calls
from exporter.validation.report import ValidationReport
from exporter.validation.validate import validate_release
from exporter.views.card_quality import measured_quality
from exporter.views.release_files import write_views
from exporter.workshop import Workshop, workshop


@dataclass(frozen=True)
class ExportResult:
    """directory: the release, or where what did not pass is held back. left_out: devices that were asked
    for and on which nothing fits, so that no release of the job is for them."""

    report: ValidationReport
    published: bool
    directory: Path
    left_out: tuple[DeviceVerdict, ...] = ()


def export(request: ExportRequest, progress: Progress, stopwatch: Stopwatch) -> tuple[ExportResult, ...]:
    """Make a release of every variant and publish those of which every gate passed.

    Raises ExportError, before any work where the plans can tell, and leaves nothing half-written.
    """
    flags = request.flags
    with stopwatch.step("open and plan"):
        published = published_model(flags.model, flags.adapter, flags.wanted)
        if published is not None:
            planned = plan_releases(published, request.targets, request.asked, flags.anyway)
            require_releases(planned)
            require_before_fetching(published, planned.releases, flags)
        source = open_checkpoint(flags.model, flags.adapter, flags.wanted)
        planned = plan_releases(PlannedModel.of(source), request.targets, request.asked, flags.anyway)
        require_releases(planned)
        plans = tuple(each.plan for each in planned.releases)
        texts = Texts.of(source)
        require_makeable(source, plans, texts, flags)
    outputs = release_directories(source.name, planned.releases, flags.output)
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
                left_out=planned.left_out,
            )
            require_calibration(job)
            require_media(job)
            return make_releases(with_chosen_schemes(job), outputs, flags.force)


def make_releases(job: Job, outputs: Sequence[Path], force: bool) -> tuple[ExportResult, ...]:
    """A release for each plan of the job, at the output of the same place in the order."""
    several = len(outputs) > 1
    with workshop(job) as shop:
        return tuple(
            _release(_told_apart(job, out) if several else job, plan, shop, out, force)
            for plan, out in zip(job.plans, outputs, strict=True)
        )


def _told_apart(job: Job, out: Path) -> Job:
    return replace(job, progress=about(job.progress, out.name))


def _release(job: Job, plan: Plan, shop: Workshop, out: Path, force: bool) -> ExportResult:
    spec = job.source.components["text"].spec
    plan = replace(plan, calibration=job.calibration_of(plan))
    with staged_release(out, force) as staging:
        release = staging.directory
        job.source.write_tokenizer(release)
        runnable = shop.lower(plan, staging, job.progress)
        subject = ReleaseUnderTest(
            release,
            runnable.artifacts,
            plan,
            shop.store(plan),
            paths=paths_of if job.accelerators else paths_not_asked_for,
            equalised=shop.source(plan),
            encoders=runnable.encoders,
        )
        with job.stopwatch.step("validate"):
            report = validate_release(job, subject, shop.baselines)
        report = replace(report, devices=(*device_verdicts(job, subject, report), *job.left_out))
        with job.stopwatch.step("finish the release"):
            ran = {run.artifact for run in report.runs}
            recording = Recording(
                release=release,
                artifacts=tuple(each for each in runnable.artifacts if each.path in ran),
                plan=plan,
                spec=spec,
                texts=job.texts,
                text=job.texts.evaluation.cut(report.text_tokens).tokens,
            )
            write_recorded_calls(recording, job.progress)
            write_views(report, release)
            finish_release(release, job.source, plan, runnable, measured_quality(report), job.progress)
        if report.outcome != "passed":
            staging.hold_back()
    return ExportResult(report, report.outcome == "passed", staging.published, job.left_out)
