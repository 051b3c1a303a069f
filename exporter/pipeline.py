"""The product's story, from a checkpoint to a release that was run and compared.

    source → plan → quantised checkpoint → artifacts → bundle → validation → reports → release

Not about how any step works: each is a package of its own.
"""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

from exporter.checkpoints.interface import CheckpointSource
from exporter.checkpoints.open import open_checkpoint
from exporter.errors import ExportError, ReleaseError, UsageError
from exporter.lowering.interface import Lowering, LoweringOrder
from exporter.lowering.table import lowerings_for
from exporter.packaging.licences import write_licence_pack
from exporter.packaging.model_card import ModelCard, write_model_card
from exporter.packaging.release import participating_versions, seal_release
from exporter.packaging.staging import staged_release
from exporter.planning.caches import has_rings
from exporter.planning.decisions import Carrier
from exporter.planning.estimates import device_estimates
from exporter.planning.memory import StageMemory, export_memory, require_memory
from exporter.planning.plan import Plan, make_plan
from exporter.planning.recipe import Recipe, load_recipe
from exporter.progress import Progress
from exporter.quantization.store.checkpoint import QuantizedCheckpoint
from exporter.quantization.store.writer import write_quantized
from exporter.quantization.transforms.equalization import equalize
from exporter.reference.activations import input_sizes
from exporter.reference.texts import EvaluationText, load_tokenizer, read_evaluation_text
from exporter.request import ExportRequest
from exporter.resources import data_directory
from exporter.schemes import Scheme
from exporter.validation.findings import ValidationRequest
from exporter.validation.replay import write_replay
from exporter.validation.report import ValidationReport
from exporter.validation.validate import validate_release
from exporter.views.markdown import quality_section
from exporter.views.release_files import write_views
from runtimes.manifest import Artifact, Format, read_manifest
from runtimes.session import PrefillLogits

TOKENIZER_NAME, RECIPE_NAME = "tokenizer.json", "recipe.toml"
EVALUATION, CALIBRATION = "evaluation", "calibration"  # directories of samples/


@dataclass(frozen=True)
class ExportResult:
    """directory: the release, or where what did not pass is held back. estimates: sentences on what the
    target's devices have room and bandwidth for, labelled as such."""

    report: ValidationReport
    published: bool
    directory: Path
    estimates: tuple[str, ...]


def export(request: ExportRequest, progress: Progress) -> ExportResult:
    """Make a release and publish it if every gate passed.

    Raises ExportError, before any work where the plan can tell, and leaves nothing half-written.
    """
    source = open_checkpoint(request.model, request.adapter)
    recipe = load_recipe(request.recipe)
    lowerings = lowerings_for(request.formats)
    plan = plan_export(source, recipe, request.target.name, request.formats, request.context, lowerings)
    if request.max_ram is not None:
        require_memory(planned_stages(source, plan, request.validation_tokens), request.max_ram)
    out = request.out or Path("releases") / f"{source.name}-{recipe.name}-{request.target.name}"

    with staged_release(out, request.force) as staging, working_directory(out) as work:
        source.write_tokenizer(staging.directory)
        quantized = quantize(source, recipe, plan.schemes, work / "quantized", progress, plan.taken_over)
        artifacts = lower(
            source, plan, quantized, lowerings, request.prefill_logits, staging.directory, progress
        )
        report = validate(
            source,
            plan,
            quantized,
            lowerings,
            artifacts,
            staging.directory,
            work,
            progress,
            request.validation_tokens,
        )
        bundle(source, plan, artifacts, report, staging.directory, progress)
        sizes = {run.format: run.bytes for run in report.runs}
        estimates = device_estimates(source.spec, plan, request.target.profiles, sizes)
        if report.outcome != "passed":
            staging.hold_back()
    return ExportResult(report, report.outcome == "passed", staging.published, estimates)


def revalidate(
    release: Path,
    model: str | None,
    adapter: Path | None,
    progress: Progress,
    validation_tokens: int | None = None,
) -> ValidationReport:
    """Check a sealed release again: its files, and its artifacts against the checkpoint `model`.

    validation_tokens: compare on that many at most.

    Raises ManifestError for a directory that is not a release, UsageError for another checkpoint than
    the release was made from, RecipeError for a release without its recipe.
    """
    manifest = read_manifest(release)
    source = open_checkpoint(model, adapter)
    made_from = manifest.source["sha256"]
    if dict(source.digests()) != made_from:
        raise UsageError(
            f"--model {model or 'sample'}",
            f"is not the checkpoint {release} was made from ({manifest.source['name']})",
            "name that one",
        )
    recipe = replace(load_recipe(str(release / RECIPE_NAME)), name=manifest.plan["recipe"])
    formats = tuple(artifact.format for artifact in manifest.artifacts)
    lowerings = lowerings_for(formats)
    target, context = manifest.plan["target"], manifest.plan["context"]
    plan = plan_export(source, recipe, target, formats, context, lowerings)
    with working_directory(release) as work:
        quantized = quantize(source, recipe, plan.schemes, work / "quantized", progress, plan.taken_over)
        return validate(
            source,
            plan,
            quantized,
            lowerings,
            manifest.artifacts,
            release,
            work,
            progress,
            validation_tokens,
            sealed=True,
        )


def plan_export(
    source: CheckpointSource,
    recipe: Recipe,
    target: str,
    formats: tuple[Format, ...],
    context: int,
    lowerings: Mapping[str, Lowering],
) -> Plan:
    """`make_plan` for what this source holds and these lowerings can carry."""
    return make_plan(source.spec, recipe, target, formats, context, carriers(lowerings), source.held)


def validate(
    source: CheckpointSource,
    plan: Plan,
    quantized: QuantizedCheckpoint,
    lowerings: Mapping[str, Lowering],
    artifacts: tuple[Artifact, ...],
    release: Path,
    scratch: Path,
    progress: Progress,
    token_limit: int | None,
    sealed: bool = False,
) -> ValidationReport:
    """Run and compare everything in a release directory. token_limit: None for the whole text."""
    return validate_release(
        ValidationRequest(
            release=release,
            artifacts=artifacts,
            model=source.name,
            target=plan.target,
            recipe=plan.recipe,
            tokenizer=release / TOKENIZER_NAME,
            bos_token=source.tokens.bos_token,
            evaluation=data_directory("samples") / EVALUATION,
            scratch=scratch,
            sealed=sealed,
            checkpoint=quantized,
            source=source,
            lowerings=lowerings,
            progress=progress,
            refusals=plan.refusals,
            token_limit=token_limit,
        )
    )


def sample_text(source: CheckpointSource, name: str, limit: int | None = None) -> EvaluationText:
    """The text in samples/`name` in the checkpoint's own tokens, the first `limit` of them."""
    with tempfile.TemporaryDirectory() as place:
        source.write_tokenizer(Path(place))
        tokenizer = load_tokenizer(Path(place) / TOKENIZER_NAME)
    return read_evaluation_text(data_directory("samples") / name, tokenizer, source.tokens.bos_token, limit)


def carriers(lowerings: Mapping[str, Lowering]) -> dict[str, Carrier]:
    """What each runtime family can carry, for the plan."""
    return {
        family: Carrier(lowering.schemes, lowering.negative_scales)
        for family, lowering in lowerings.items()
    }


def planned_stages(
    source: CheckpointSource, plan: Plan, token_limit: int | None
) -> tuple[StageMemory, ...]:
    """What each stage takes of memory, for the texts in the checkpoint's own tokens."""
    compared = len(sample_text(source, EVALUATION, token_limit).tokens)
    calibrated = len(sample_text(source, CALIBRATION).tokens)
    return export_memory(source.spec, plan, min(compared, plan.context), calibrated)


@contextmanager
def working_directory(out: Path) -> Iterator[Path]:
    """A directory beside the output for what is not shipped. It stays when an export is killed or
    interrupted, so that the next one to the same output goes on where it stopped."""
    work = out.absolute().parent / f".{out.name}.work"
    try:
        work.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise ReleaseError(
            work, f"cannot be made ({error.strerror})", "put the release where you may write beside it"
        ) from error
    try:
        yield work
    except ExportError:  # a refusal would be repeated: nothing to go on with
        shutil.rmtree(work, ignore_errors=True)
        raise
    shutil.rmtree(work, ignore_errors=True)


def quantize(
    source: CheckpointSource,
    recipe: Recipe,
    schemes: Mapping[str, Scheme],
    directory: Path,
    progress: Progress,
    taken_over: frozenset[str] = frozenset(),
) -> QuantizedCheckpoint:
    """The quantised checkpoint, of equalised weights where the recipe asks for it.

    taken_over: matrices whose codes in the source are kept (none where the recipe equalises).
    """
    if recipe.equalization is None:
        return write_quantized(source, schemes, directory, progress, taken_over)
    activations = input_sizes(source, sample_text(source, CALIBRATION).tokens, progress)
    return write_quantized(equalize(source, activations, recipe.equalization), schemes, directory, progress)


def lower(
    source: CheckpointSource,
    plan: Plan,
    quantized: QuantizedCheckpoint,
    lowerings: Mapping[str, Lowering],
    prefill_logits: PrefillLogits,
    release: Path,
    progress: Progress,
) -> tuple[Artifact, ...]:
    """Every artifact of the plan, one runtime after the other, with the tokenizer beside them."""
    order = LoweringOrder(
        checkpoint=quantized,
        context=plan.context,
        prefill_chunk=plan.prefill_chunk,
        prefill_logits=prefill_logits,
        tokenizer=release,
        bos_token=source.tokens.bos_token,
        stop_tokens=source.tokens.stop_tokens,
        chat_template=source.tokens.chat_template,
    )
    return tuple(
        artifact for lowering in lowerings.values() for artifact in lowering.lower(order, release, progress)
    )


def bundle(
    source: CheckpointSource,
    plan: Plan,
    artifacts: tuple[Artifact, ...],
    report: ValidationReport,
    release: Path,
    progress: Progress,
) -> None:
    """Calls for a Mac to replay, recipe, licence, model card, reports, manifest and checksums."""
    for artifact in artifacts:
        if artifact.format == "coreml":
            compared = sample_text(source, EVALUATION, report.text_tokens)
            write_replay(release, artifact, source.spec, compared.tokens)
    (release / RECIPE_NAME).write_text(plan.recipe.text, encoding="utf-8")
    write_views(report, release)
    licence = write_licence_pack(
        release,
        model=source.name,
        model_type=source.spec.model_type,
        documents=source.documents,
        modified=tuple(artifact.path for artifact in artifacts),
        change=f"The weights were quantised (recipe {plan.recipe.name}) and the format was converted.",
    )
    write_model_card(
        release,
        ModelCard(
            model=source.name,
            model_type=source.spec.model_type,
            parameters=source.spec.parameter_count(),
            source_digests=source.digests(),
            recipe=plan.recipe.name,
            target=plan.target,
            context=plan.context,
            scheme_counts=plan.scheme_counts(),
            left_out=source.left_out,
            artifacts=artifacts,
            rings=frozenset(
                each.format
                for each in artifacts
                if has_rings(source.spec, each.context, each.prefill_chunk, each.format)
            ),
            quality=quality_section(report),
            licence=licence,
        ),
    )
    seal_release(
        release,
        source=source,
        plan=plan,
        artifacts=artifacts,
        versions=participating_versions(plan.formats),
        progress=progress,
    )
