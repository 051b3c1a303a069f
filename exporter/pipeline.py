"""The product's story, from a checkpoint to releases that were run and compared.

    source → plan → quantised checkpoint → artifacts → validation → reports → release

Not about how any step works: each is a package of its own.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from exporter.checkpoints.interface import CheckpointSource
from exporter.checkpoints.open import open_checkpoint
from exporter.formats.table import family_of, paths_not_asked_for, paths_of
from exporter.job import PROMPTS, Job
from exporter.lowering.table import lowerings_for
from exporter.packaging.finishing import finish_release
from exporter.packaging.release import sizes
from exporter.packaging.staging import require_free, staged_release
from exporter.packaging.working_directory import held_outputs, job_directory
from exporter.planning.device_verdict import DeviceVerdict
from exporter.planning.judging import judge
from exporter.planning.memory import StageMemory, export_memory, require_memory
from exporter.planning.on_device import WrittenSizes
from exporter.planning.plan import Plan
from exporter.planning.planner import PlannedModel
from exporter.planning.published_model import published_model
from exporter.planning.releases import PlannedRelease, plan_releases, require_releases
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

LONG_NAMES = 3  # devices beside the first


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
        if (published := published_model(flags.model, flags.adapter)) is not None:  # refuse before fetching
            require_releases(plan_releases(published, request.targets, request.asked, flags.anyway))
        source = open_checkpoint(flags.model, flags.adapter)
        model = PlannedModel(source.name, source.components, source.held)
        planned = plan_releases(model, request.targets, request.asked, flags.anyway)
        require_releases(planned)
        plans = tuple(each.plan for each in planned.releases)
        for plan in plans:
            require_choice(source, plan.variant)
        texts = Texts.of(source)
        for plan in plans:
            require_room_to_answer(map(texts.prompt, PROMPTS), plan.variant.context)
            if flags.max_ram is not None:
                require_memory(planned_stages(source, plan, texts, flags.validation_tokens), flags.max_ram)
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
            return make_releases(with_chosen_schemes(job), outputs, flags.force)


def release_directories(
    model: str, releases: Sequence[PlannedRelease], output: Path | None
) -> tuple[Path, ...]:
    """Where each release goes: --output, below it under what tells them apart where there are several, or a
    name made of model, the same, and target."""
    if output is None:
        names = (f"{model}-{each.label}-{_short(each.plan.variant.name)}" for each in releases)
        return tuple(Path("releases") / name for name in names)
    return (output,) if len(releases) == 1 else tuple(output / each.label for each in releases)


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
        report = replace(report, devices=(*_verdicts(job, plan, release, report), *job.left_out))
        with job.stopwatch.step("finish the release"):
            for artifact in artifacts:
                if family_of(artifact.format).replayed:
                    compared = job.texts.evaluation.cut(report.text_tokens)
                    write_replay(release, artifact, spec, compared.tokens)
            write_views(report, release)
            finish_release(release, job.source, plan, artifacts, measured_quality(report), job.progress)
        if report.outcome != "passed":
            staging.hold_back()
    return ExportResult(report, report.outcome == "passed", staging.published, job.left_out)


def _verdicts(job: Job, plan: Plan, release: Path, report: ValidationReport) -> Iterator[DeviceVerdict]:
    """Of the devices it is meant for, with the sizes of what was written."""
    text = sizes(release).get("tokenizer.json", 0)
    written = WrittenSizes(text, {run.format: run.bytes for run in report.runs})
    for profile in plan.variant.devices:
        verdict = judge(job.source.components["text"].spec, plan, profile, written)
        if verdict is not None:
            yield verdict


def _short(name: str) -> str:
    """The devices' names in a directory's, as far as anybody wants to read them."""
    first, *others = name.split("+")
    return name if len(others) < LONG_NAMES else f"{first}+{len(others)}-others"


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
