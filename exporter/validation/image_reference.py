"""`ImageReference`: what transformers makes of the pictures and of the prompts with them.

Rows by its own towers on the original and the quantised weights, logits by its own text models behind these
rows. One pass over each tower for a picture, one over each text model for all prompts. Not about artifacts.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from exporter.formats.table import facts_of
from exporter.job import Job
from exporter.models.vision.spec import VisionSpec
from exporter.quantization.store.unpacked_weights import UnpackedWeights
from exporter.reference.logits_file import LogitsFile
from exporter.reference.merged_logits import AskedPrompt, merged_logits
from exporter.reference.reference_tower import ReferenceTower
from exporter.reference.weights import OriginalWeights, ReferenceWeights
from exporter.validation.baselines import ORIGINAL, QUANTISED
from exporter.validation.findings import ReleaseUnderTest
from exporter.validation.image_pictures import SAMPLES, TriedPicture, sample_pictures
from exporter.validation.image_prompts import PromptParts, TriedPrompt, image_prompts, places_left_out
from runtimes.images.prepared import ImageRows
from runtimes.images.processing import ImageMarks, ImageProcessing
from runtimes.session import Logits

WINDOWS = 3  # of text that prompts are made of at most, and what stands between


@dataclass(frozen=True)
class ImageReference:
    """parts: what prompts are made of. weights, rows, logits: by `ORIGINAL` and `QUANTISED`; of each
    picture, and of one prompt after the other."""

    pictures: tuple[TriedPicture, ...]
    parts: PromptParts
    prompts: tuple[TriedPrompt, ...]
    weights: Mapping[str, ReferenceWeights]
    rows: Mapping[str, tuple[ImageRows, ...]]
    logits: Mapping[str, LogitsFile]

    def logits_of(self, name: str, number: int) -> Logits:
        """Of a prompt by its number, [at, vocab]."""
        start = sum(len(each.at) for each in self.prompts[:number])
        return self.logits[name].rows(start, start + len(self.prompts[number].at))


def image_reference(
    job: Job, release: ReleaseUnderTest, processing: ImageProcessing, scratch: Path
) -> ImageReference:
    """Everything the release's image artifacts are held against. scratch: existing directory for logits."""
    spec = release.checkpoint.components["vision"].spec
    pictures = sample_pictures(processing, spec)
    parts = _parts(job, processing.marks, tuple(each.prepared.soft_tokens for each in pictures))
    prompts = image_prompts(parts, min(artifact.context for artifact in release.artifacts))
    weights: dict[str, ReferenceWeights] = {
        ORIGINAL: OriginalWeights(job.source),
        QUANTISED: UnpackedWeights(release.checkpoint),
    }
    rows = {name: _rows(job, each, spec, pictures) for name, each in weights.items()}
    logits = {}
    for name, each in weights.items():
        asked = [AskedPrompt(prompt.tokens, prompt.images(rows[name]), prompt.at) for prompt in prompts]
        with job.stopwatch.step(f"{each.description}, pictures"):
            logits[name] = merged_logits(each, asked, scratch / f"images-{name}", job.progress)
    return ImageReference(pictures, parts, prompts, weights, rows, logits)


def not_tried(reference: ImageReference, release: ReleaseUnderTest, not_by: Sequence[str]) -> Iterator[str]:
    """What of pictures nobody should read into a pass, a sentence each. not_by: artifacts of text alone."""
    for path in not_by:
        yield f"{path} takes no images: what it is given is tokens."
    if beyond := SAMPLES[len(reference.pictures) :]:
        yield (
            f"{' and '.join(beyond)} {'was' if len(beyond) == 1 else 'were'} not tried: transformers takes "
            "minutes for a picture in a tower of this size."
        )
    context = min(artifact.context for artifact in release.artifacts)
    yield from places_left_out(reference.parts, reference.prompts, context)
    yield (
        "The pictures were gemma-export's own samples, prepared as image_processing.json says. Neither a "
        "camera nor an app that resizes pictures in a way of its own took part."
    )
    spec = release.checkpoint.components["vision"].spec
    for encoder in release.encoders:
        if (said := facts_of(encoder.format).asked_by_tools) is not None:
            yield f"{encoder.path}: {said(spec.tokens.blocks)}"


def _rows(
    job: Job, weights: ReferenceWeights, spec: VisionSpec, pictures: tuple[TriedPicture, ...]
) -> tuple[ImageRows, ...]:
    tower, found = ReferenceTower(weights, spec), []
    with job.stopwatch.step(f"{weights.description}, image tower"):
        for number, picture in enumerate(pictures):
            job.progress(f"{weights.description}: pictures", number, len(pictures))
            found.append(tower.rows(picture.prepared))
    job.progress(f"{weights.description}: pictures", len(pictures), len(pictures))
    return tuple(found)


def _parts(job: Job, marks: ImageMarks, soft_tokens: tuple[int, ...]) -> PromptParts:
    layers = job.source.components["text"].spec.layers
    window = max((layer.window for layer in layers if layer.window is not None), default=None)
    text = job.texts.evaluation.tokens[1:]
    return PromptParts(
        bos_token=job.texts.bos_token,
        around=np.resize(text, max(len(text), WINDOWS * (window or 0))),
        marks=marks,
        breaks=job.texts.piece("\n\n"),
        soft_tokens=soft_tokens,
        window=window,
    )
