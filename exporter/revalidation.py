"""Checking a sealed release again: its files, and its artifacts against the checkpoint it was made from.

Not about making one (`exporter.pipeline`).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

from exporter.checkpoints.identity import is_made_from
from exporter.checkpoints.interface import CheckpointSource
from exporter.checkpoints.open import open_as_far_as_there
from exporter.errors import RecipeError, UsageError
from exporter.formats.arm64_path import arm64_path
from exporter.formats.execution_path import ExecutionPath
from exporter.formats.table import family_of, paths_not_asked_for, paths_of
from exporter.job import Job, require_token_limit
from exporter.lowering.table import lowerings_for
from exporter.packaging.agreement import (
    require_true_of_artifacts,
    require_true_of_images,
    require_true_of_plan,
    require_true_of_sounds,
    require_true_of_tokens,
)
from exporter.packaging.finishing import RECIPE_NAME
from exporter.packaging.working_directory import held_release, job_directory
from exporter.planning.plan import Plan, plan_as_made
from exporter.planning.recipe import load_recipe
from exporter.planning.variants import Variant
from exporter.progress import Progress
from exporter.reference.texts import Texts
from exporter.refusals import require_calibration
from exporter.stopwatch import Stopwatch
from exporter.validation.findings import ReleaseUnderTest
from exporter.validation.report import ValidationReport
from exporter.validation.validate import validate_release
from exporter.workshop import workshop
from runtimes.formats import Format
from runtimes.images.processing import read_processing
from runtimes.manifest import Manifest, read_manifest
from runtimes.sounds.processing import SoundLength, read_sound_processing


@dataclass(frozen=True)
class CheckAgain:
    """release: directory of a sealed release. model, adapter: what it was made from, None for the sample
    and for no adapter. validation_tokens: compare on that many at most.
    accelerators: execute on those that are here too. calibration: the text its codes were found on, none
    for what ships. cpu: an ARM64 CPU to emulate, as QEMU names it."""

    release: Path
    model: str | None = None
    adapter: Path | None = None
    validation_tokens: int | None = None
    accelerators: bool = True
    cpu: str | None = None
    calibration: tuple[Path, ...] = ()


def revalidate(asked: CheckAgain, progress: Progress, stopwatch: Stopwatch) -> ValidationReport:
    """Run and compare everything in a sealed release.

    Raises ManifestError for a directory that is not a release and a manifest that is not true, UsageError
    for another checkpoint than the release was made from and for more tokens than any text has, RecipeError
    for a release without its recipe.
    """
    release = asked.release
    manifest = read_manifest(release)
    source = open_as_far_as_there(asked.model, asked.adapter, tuple(manifest.components))
    if not is_made_from(manifest.source["sha256"], source.digests()):
        raise UsageError(
            f"--model {asked.model or 'sample'}",
            f"is not the checkpoint {release} was made from ({manifest.source['name']})",
            "name that one, or check its recorded calls with --recorded",
        )
    texts = Texts.of(source)
    require_token_limit(texts, asked.validation_tokens)
    if not (release / RECIPE_NAME).is_file():
        raise RecipeError(
            release / RECIPE_NAME, "is missing from the release", "copy the release again, or export again"
        )
    variant = Variant(
        name=manifest.plan["target"],
        recipe=replace(load_recipe(str(release / RECIPE_NAME)), name=manifest.plan["recipe"]),
        context=manifest.plan["context"],
        formats=tuple(artifact.format for artifact in manifest.artifacts),
        devices=(),
        accelerators=manifest.plan["accelerators"],
        soft_tokens=_soft_tokens(release, manifest, source),
        sound=_longest_sound(release, manifest, source),
    )
    plan = plan_as_made(source.components, variant, source.held)
    _require_true(release, manifest, source, texts, plan)
    with held_release(release) as held, job_directory(held, "validate") as work:
        job = Job(
            source=source,
            plans=(plan,),
            lowerings=lowerings_for(plan.variant.formats),
            texts=texts,
            work=work,
            progress=progress,
            stopwatch=stopwatch,
            token_limit=asked.validation_tokens,
            calibration_files=asked.calibration,
        )
        require_calibration(job)
        with workshop(job) as shop:
            subject = ReleaseUnderTest(
                release,
                manifest.artifacts,
                plan,
                shop.store(plan),
                sealed=True,
                paths=_paths(asked, plan),
                equalised=shop.source(plan),
                encoders=manifest.encoders or (),
            )
            return validate_release(job, subject, shop.baselines)


def _require_true(
    release: Path, manifest: Manifest, source: CheckpointSource, texts: Texts, plan: Plan
) -> None:
    """Of all that can be asked without running anything. Raises as each of these."""
    require_true_of_plan(release, manifest, source.components, plan)
    require_true_of_tokens(release, manifest, source, texts)
    require_true_of_artifacts(release, manifest)


def _longest_sound(release: Path, manifest: Manifest, source: CheckpointSource) -> SoundLength | None:
    """As the release says, None where nothing in it takes sounds. Raises as `_soft_tokens`."""
    if not any(each.component == "audio" for each in manifest.encoders or ()):
        return None
    said = read_sound_processing(release)
    require_true_of_sounds(release, manifest, said, source)
    return said.longest_sound


def _soft_tokens(release: Path, manifest: Manifest, source: CheckpointSource) -> int | None:
    """Of an image, as the release says; what the checkpoint's processor makes where nothing in it takes
    images. Raises ProcessingError, and ManifestError for a description that is not this checkpoint's."""
    if source.images is None:
        return None
    if not any(each.component == "vision" for each in manifest.encoders or ()):
        return source.images.soft_tokens
    said = read_processing(release)
    require_true_of_images(release, manifest, said, source)
    return said.soft_tokens


def _paths(asked: CheckAgain, plan: Plan) -> Callable[[Format], tuple[ExecutionPath, ...]]:
    """The execution paths of each format, with the emulated CPU where one was asked for."""
    others = paths_of if asked.accelerators else paths_not_asked_for
    if (cpu := asked.cpu) is None:
        return others
    schemes = set(plan.components["text"].schemes.values())
    return lambda format: (
        *others(format),
        arm64_path(family_of(format), cpu, schemes, plan.weight_bytes),
    )
