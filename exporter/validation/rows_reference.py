"""`RowsReference`: what transformers makes of the pictures or sounds and of the prompts with them.

Rows by its own towers on the original and the quantised weights, logits by its own text models behind these
rows. One pass over each tower for a sample, one over each text model for all prompts. Not about artifacts.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from exporter.job import Job
from exporter.quantization.store.unpacked_weights import UnpackedWeights
from exporter.reference.logits_file import LogitsFile
from exporter.reference.merged_logits import AskedPrompt, merged_logits
from exporter.reference.reference_tower import ReferenceTower
from exporter.reference.weights import OriginalWeights, ReferenceWeights
from exporter.validation.baselines import ORIGINAL, QUANTISED
from exporter.validation.findings import ReleaseUnderTest
from exporter.validation.modality import Modality
from exporter.validation.placed_prompts import PromptParts, TriedPrompt, placed_prompts, places_left_out
from exporter.validation.samples import Samples
from runtimes.encoder import EncodedRows
from runtimes.session import Logits

WINDOWS = 3  # of text that prompts are made of at most, and what stands between


@dataclass(frozen=True)
class RowsReference:
    """parts: what prompts are made of. weights, rows, logits: by `ORIGINAL` and `QUANTISED`; of each
    sample, and of one prompt after the other."""

    modality: Modality
    samples: Samples
    parts: PromptParts
    prompts: tuple[TriedPrompt, ...]
    weights: Mapping[str, ReferenceWeights]
    rows: Mapping[str, tuple[EncodedRows, ...]]
    logits: Mapping[str, LogitsFile]

    def logits_of(self, name: str, number: int) -> Logits:
        """Of a prompt by its number, [at, vocab]."""
        start = sum(len(each.at) for each in self.prompts[:number])
        return self.logits[name].rows(start, start + len(self.prompts[number].at))


def rows_reference(modality: Modality, job: Job, release: ReleaseUnderTest, scratch: Path) -> RowsReference:
    """Everything the release's towers of this kind, and what takes their rows, are held against. scratch:
    existing directory for logits."""
    samples = modality.samples(release)
    parts = _parts(modality, job, samples)
    prompts = placed_prompts(parts, min(artifact.context for artifact in release.artifacts))
    weights: dict[str, ReferenceWeights] = {
        ORIGINAL: OriginalWeights(job.source),
        QUANTISED: UnpackedWeights(release.checkpoint),
    }
    rows, logits = {}, {}
    for name, each in weights.items():
        with job.stopwatch.step(f"{each.description}, {modality.tower}"):
            tower = ReferenceTower(each, modality.spec(release))
            rows[name] = _rows(job, f"{each.description}: {modality.sample}s", tower, samples)
    for name, each in weights.items():
        asked = [AskedPrompt(prompt.tokens, prompt.placed(rows[name]), prompt.at) for prompt in prompts]
        with job.stopwatch.step(f"{each.description}, {modality.sample}s"):
            path = scratch / f"{modality.kind}-{name}"
            logits[name] = merged_logits(each, asked, path, job.progress)
    return RowsReference(modality, samples, parts, prompts, weights, rows, logits)


def not_tried(reference: RowsReference, release: ReleaseUnderTest, not_by: Sequence[str]) -> Iterator[str]:
    """What of the samples nobody should read into a pass, a sentence each. not_by: artifacts that take
    none."""
    modality = reference.modality
    for path in not_by:
        yield f"{path} takes no {modality.kind}: what it is given is tokens."
    yield from reference.samples.not_tried
    context = min(artifact.context for artifact in release.artifacts)
    yield from places_left_out(reference.parts, reference.prompts, context)
    yield modality.limits
    spec = modality.spec(release)
    for encoder in modality.encoders(release):
        if (said := modality.by_tools(encoder, spec)) is not None:
            yield f"{encoder.path}: {said}"


def _rows(job: Job, what: str, tower: ReferenceTower, samples: Samples) -> tuple[EncodedRows, ...]:
    found: list[EncodedRows] = []
    for sample in samples.tried:
        job.progress(what, len(found), len(samples.tried))
        found.append(tower.rows(sample.prepared))
    job.progress(what, len(found), len(found))
    return tuple(found)


def _parts(modality: Modality, job: Job, samples: Samples) -> PromptParts:
    layers = job.source.components["text"].spec.layers
    window = max((layer.window for layer in layers if layer.window is not None), default=None)
    text = job.texts.evaluation.tokens[1:]
    return PromptParts(
        of=modality.of,
        sample=modality.sample,
        bos_token=job.texts.bos_token,
        around=np.resize(text, max(len(text), WINDOWS * (window or 0))),
        marks=samples.marks,
        breaks=job.texts.piece("\n\n"),
        soft_tokens=tuple(each.prepared.soft_tokens for each in samples.tried),
        window=window,
    )
