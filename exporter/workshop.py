"""`Workshop`: what the variants of a job have in common, made once.

    stores      a recipe is quantised once, for all variants that come to the same schemes
    baselines   transformers runs once on the original and once on each quantised checkpoint
    artifacts   what a runtime family would write again in equal bytes is linked from where it was written

Not about what becomes of it (`exporter.pipeline`).
"""

from __future__ import annotations

import hashlib
import os
import shutil
from collections.abc import Collection, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

from exporter import __version__
from exporter.checkpoints.interface import CheckpointSource
from exporter.job import Job
from exporter.lowering.interface import ImageOrder, LoweringOrder, MadeFrom, SoundOrder
from exporter.models.vision.places import with_soft_tokens
from exporter.packaging.licences import licence_title
from exporter.packaging.origin import origin_of
from exporter.packaging.release import Runnable
from exporter.packaging.staging import Staging
from exporter.planning.plan import Plan
from exporter.progress import Progress
from exporter.quantization.calibrated_quantize import Coding, write_calibrated
from exporter.quantization.quantize import write_quantized
from exporter.quantization.store.checkpoint import QuantizedCheckpoint
from exporter.quantization.transforms.equalization import Activations, equalize
from exporter.reference.activations import input_sizes
from exporter.schemes import IntegerScheme, Scheme
from exporter.validation.baselines import Baselines
from runtimes.formats import Format
from runtimes.images.processing import PROCESSING_NAME
from runtimes.manifest import Artifact, EncoderArtifact
from runtimes.sounds.processing import SOUND_PROCESSING_NAME

BYTE = 8  # bits
EQUALISED_ON = 2048  # tokens: the size of an input is soon known

Asked = tuple[str, str, int, int | None, frozenset[Format]]
"""What decides an artifact's bytes within a job: family, store, context, soft tokens of an image, and its
formats."""


@dataclass(frozen=True)
class _Written:
    """files: relative to the release that `staging` became."""

    staging: Staging
    files: tuple[Path, ...]
    runnable: Runnable


class Workshop:
    """Opened for one job by `workshop`."""

    def __init__(self, job: Job, baselines: Baselines) -> None:
        self.job, self.baselines = job, baselines
        self._stores: dict[str, QuantizedCheckpoint] = {}
        self._sources: dict[str, CheckpointSource] = {}
        self._written: dict[Asked, _Written] = {}

    def store(self, plan: Plan) -> QuantizedCheckpoint:
        """The quantised checkpoint of a plan, of equalised weights where the recipe asks for it."""
        return self._store(plan, self.job)

    def _store(self, plan: Plan, job: Job) -> QuantizedCheckpoint:
        name = store_name(plan)
        if name not in self._stores:
            with job.stopwatch.step("quantise"):
                self._sources[name] = prepared(job, plan)
                self._stores[name] = _quantised(job, plan, self._sources[name], job.work / name)
        return self._stores[name]

    def source(self, plan: Plan) -> CheckpointSource:
        """What the codes of a plan's store were found for: the job's source, or that equalised."""
        self.store(plan)
        return self._sources[store_name(plan)]

    def lower(self, plan: Plan, staging: Staging, progress: Progress) -> Runnable:
        """Every artifact of the plan, one runtime after the other, with the tokenizer beside them, and what
        is done to a picture before it enters a tower where there is one.

        progress: is told, of the plan's codes too where they are not there yet.
        """
        told = replace(self.job, progress=progress)
        order = lowering_order(told, plan, self._store(plan, told), staging.directory)
        artifacts: list[Artifact] = []
        encoders: list[EncoderArtifact] = []
        for family in plan.families:
            formats = frozenset(plan.variant.formats).intersection(family.formats)
            variant = plan.variant
            asked = (family.name, store_name(plan), variant.context, variant.soft_tokens, formats)
            if (written := self._written.get(asked)) is None:
                with self.job.stopwatch.step(f"lower to {family.title}"):
                    written = self._lower(asked, order, staging, told.progress)
            else:
                _link(written, staging.directory)
            artifacts += written.runnable.artifacts
            encoders += written.runnable.encoders
        if order.images is not None and any(each.component == "vision" for each in encoders):
            said = order.images.processing.to_json()
            (staging.directory / PROCESSING_NAME).write_text(said, encoding="utf-8")
        if order.sounds is not None and any(each.component == "audio" for each in encoders):
            said = order.sounds.processing.to_json()
            (staging.directory / SOUND_PROCESSING_NAME).write_text(said, encoding="utf-8")
        return Runnable(tuple(artifacts), tuple(encoders))

    def _lower(self, asked: Asked, order: LoweringOrder, staging: Staging, progress: Progress) -> _Written:
        release, lowering = staging.directory, self.job.lowerings[asked[0]]
        before = _files(release)
        artifacts = lowering.lower(order, release, progress)
        files = sorted(path for path, state in _files(release).items() if before.get(path) != state)
        written = _Written(staging, tuple(files), Runnable(artifacts, lowering.encoders(order)))
        self._written[asked] = written
        return written


@contextmanager
def workshop(job: Job) -> Iterator[Workshop]:
    """A workshop whose baselines are deleted afterwards; quantised stores stay in the job's directory."""
    logits = job.work / "baselines"
    shutil.rmtree(logits, ignore_errors=True)
    logits.mkdir()
    try:
        recipes = {store_name(plan): plan.variant.recipe.name for plan in job.plans}
        yield Workshop(job, Baselines(job, logits, recipes))
    finally:
        shutil.rmtree(logits, ignore_errors=True)


def store_name(plan: Plan) -> str:
    """A directory name for what decides a plan's store: recipe, schemes, what is taken over."""
    digest = hashlib.sha256(plan.variant.recipe.text.encode())
    for name, scheme in plan.schemes.items():
        digest.update(f"{name} {scheme.name} {name in plan.taken_over}\n".encode())
    return f"quantized-{digest.hexdigest()[:12]}"


def lowering_order(job: Job, plan: Plan, store: QuantizedCheckpoint, tokenizer: Path) -> LoweringOrder:
    """What a plan's lowerings are told to build. tokenizer: directory that holds the checkpoint's."""
    tokens = job.source.tokens
    return LoweringOrder(
        checkpoint=store,
        context=plan.variant.context,
        prefill_chunk=plan.prefill_chunk,
        prefill_logits=job.prefill_logits,
        tokenizer=tokenizer,
        bos_token=tokens.bos_token,
        stop_tokens=tokens.stop_tokens,
        chat_template=tokens.chat_template,
        turn_end=tokens.turn_end,
        images=image_order(job.source, plan),
        sounds=sound_order(job.source),
        made_from=MadeFrom(
            name=origin_of(job.source).name,
            licence=licence_title(job.source),
            version=f"gemma-export {__version__}, recipe {plan.variant.recipe.name}",
        ),
    )


def image_order(source: CheckpointSource, plan: Plan) -> ImageOrder | None:
    """What a plan's lowerings are told of images, None for text alone."""
    soft_tokens = plan.variant.soft_tokens
    if source.images is None or soft_tokens is None:
        return None
    return ImageOrder(with_soft_tokens(source.images, source.components["vision"].spec, soft_tokens))


def sound_order(source: CheckpointSource) -> SoundOrder | None:
    """What lowerings are told of sounds, None where none are taken."""
    return None if source.sounds is None else SoundOrder(source.sounds)


def quantize(job: Job, plan: Plan, directory: Path) -> QuantizedCheckpoint:
    """Quantise the job's source by a plan, equalised first where its recipe says so."""
    return _quantised(job, plan, prepared(job, plan), directory)


def prepared(job: Job, plan: Plan) -> CheckpointSource:
    """The job's source, equalised where a plan's recipe says so."""
    if plan.equalization is None:
        return job.source
    return equalised(job, plan, _rows_of_bytes(plan.schemes), _in_groups(plan.schemes))[0]


def _quantised(job: Job, plan: Plan, source: CheckpointSource, directory: Path) -> QuantizedCheckpoint:
    if (text := job.text_for(plan)) is not None:
        coding = Coding(plan.schemes, plan.methods, plan.taken_over)
        return write_calibrated(source, coding, text, directory, job.progress)
    return write_quantized(source, plan.schemes, directory, job.progress, plan.taken_over)


def _rows_of_bytes(schemes: Mapping[str, Scheme]) -> frozenset[str]:
    """Matrices of 8 bits whose rows have one scale. Not those of 4: beside them runtimes round what enters
    a linear to 8 bits a token, and factors fitted to weights make that cost more (docs/adr/0005)."""
    return frozenset(
        name
        for name, each in schemes.items()
        if isinstance(each, IntegerScheme) and each.bits == BYTE and each.group is None
    )


def _in_groups(schemes: Mapping[str, Scheme]) -> frozenset[str]:
    """Matrices of less than 8 bits whose rows have a scale for every group."""
    return frozenset(
        name
        for name, each in schemes.items()
        if isinstance(each, IntegerScheme) and each.bits < BYTE and each.group is not None
    )


def equalised(
    job: Job, plan: Plan, by_row: Collection[str], in_groups: Collection[str]
) -> tuple[CheckpointSource, Activations]:
    """The job's source, rescaled where a plan says so, and the sizes of what enters its linears.

    by_row: matrices whose columns are fitted to rows of one scale each. in_groups: see `equalize`.
    """
    sizes = input_sizes(job.source, job.calibration.first(EQUALISED_ON).sequences, job.progress)
    how = plan.equalization
    return (job.source if how is None else equalize(job.source, sizes, how, by_row, in_groups)), sizes


def _files(release: Path) -> dict[Path, tuple[int, int]]:
    """Each file's size and time: a lowering may add to one that was there."""
    states = {path.relative_to(release): path.stat() for path in release.rglob("*") if path.is_file()}
    return {path: (state.st_size, state.st_mtime_ns) for path, state in states.items()}


def _link(written: _Written, release: Path) -> None:
    """Put the files of another variant's artifacts into a release, without writing them again."""
    staging = written.staging
    there = staging.directory if staging.directory.is_dir() else staging.published
    for path in written.files:
        (release / path).parent.mkdir(parents=True, exist_ok=True)
        (release / path).unlink(missing_ok=True)
        try:
            os.link(there / path, release / path)
        except OSError:  # another file system, or one without links
            shutil.copyfile(there / path, release / path)
