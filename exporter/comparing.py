"""Quantised checkpoints and releases beside the checkpoint they were made from, by language and domain.

    directories → subjects → agreements by domain → figures

A quantised checkpoint is filled into transformers; of a release, which has no checkpoint in it, every
artifact is executed. All see the same sequences. Not about gates, nothing passes or fails here, nor about
what the releases' own reports say (`exporter.reported_releases`).
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import combinations
from pathlib import Path

from exporter.checkpoints.identity import is_made_from
from exporter.checkpoints.interface import CheckpointSource
from exporter.checkpoints.open import open_checkpoint
from exporter.errors import UsageError
from exporter.evaluation.change import changes
from exporter.evaluation.compared import DomainComparison, DomainFigures, SubjectFigures
from exporter.evaluation.figures import figures
from exporter.evaluation.side_by_side import LONGEST, ByDomain, compare_weights
from exporter.models.components import TEXT_ALONE, Components, towers_of
from exporter.packaging.release import require_unchanged
from exporter.progress import Progress
from exporter.quantization.store.checkpoint import QuantizedCheckpoint, open_quantized
from exporter.quantization.store.journal import RECORD_NAME, STARTED_NAME
from exporter.quantization.store.stored_size import stored_size
from exporter.quantization.store.unpacked_weights import UnpackedWeights
from exporter.quantization.transforms.equalization import DIGEST_NAME
from exporter.reference.domain_kind import DomainKind
from exporter.reference.domains import Domain, read_domains
from exporter.reference.texts import Texts
from exporter.reference.weights import OriginalWeights
from exporter.resources import data_directory
from exporter.validation.executed_artifacts import PlacedArtifact, compare_artifacts
from runtimes.formats import Format
from runtimes.manifest import MANIFEST_NAME, Manifest, read_manifest

EXECUTED_TOKENS = 256  # of a domain, unless told otherwise, where artifacts are run

NO_SAMPLE = "No picture and no sound is compared: all that is given here is text."


@dataclass(frozen=True)
class CompareOrder:
    """directories: quantised checkpoints and releases. model, adapter: what they were made from. tokens: of
    each domain at most; None for all where only checkpoints are compared, else EXECUTED_TOKENS."""

    directories: tuple[Path, ...]
    model: str | None = None
    adapter: Path | None = None
    tokens: int | None = None


@dataclass(frozen=True)
class _Subjects:
    """By the names they are shown under, in the order they were given."""

    checkpoints: Mapping[str, QuantizedCheckpoint]
    artifacts: Mapping[str, PlacedArtifact]
    manifests: Mapping[Path, Manifest]


def compare(order: CompareOrder, progress: Progress) -> DomainComparison:
    """Raises UsageError for a directory that is neither or was made from another checkpoint, ReleaseError
    for an artifact that was changed since it was sealed, and what reading and running them raises."""
    subjects = _open(order.directories)
    source = open_checkpoint(order.model, order.adapter)
    _require_made_from(_digests(source, order), subjects, order)
    for directory, manifest in subjects.manifests.items():
        for artifact in manifest.artifacts:
            require_unchanged(directory, manifest, artifact.path)
    sized = [_sized(name, subjects, source) for name in (*subjects.checkpoints, *subjects.artifacts)]
    domains, longest = _domains(source, subjects, order.tokens)
    texts, original = [domain.text for domain in domains], OriginalWeights(source)
    found: dict[str, ByDomain] = {}
    if subjects.checkpoints:
        weights = [UnpackedWeights(each) for each in subjects.checkpoints.values()]
        compared = compare_weights(original, weights, texts, progress, longest)
        found |= zip(subjects.checkpoints, compared, strict=True)
    if subjects.artifacts:
        placed = list(subjects.artifacts.values())
        ran = compare_artifacts(original, placed, texts, longest, progress)
        found |= zip(subjects.artifacts, ran, strict=True)
    digest = hashlib.sha256("".join(text.sha256 for text in texts).encode()).hexdigest()
    measured = tuple(_figures(each, domains, found[each.name]) for each in sized)
    return DomainComparison(
        model=source.name,
        text_sha256=digest,
        tokens=sum(len(text.tokens) for text in texts),
        longest=longest,
        remarks=(
            *(domain.remark for domain in domains if domain.remark is not None),
            *((NO_SAMPLE,) if _takes_more(subjects) else ()),
        ),
        subjects=measured,
        changes=tuple(changes(measured)),
    )


def _open(directories: Sequence[Path]) -> _Subjects:
    checkpoints: dict[str, QuantizedCheckpoint] = {}
    artifacts: dict[str, PlacedArtifact] = {}
    manifests: dict[Path, Manifest] = {}
    for directory in dict.fromkeys(directories):
        if (directory / RECORD_NAME).is_file() or (directory / STARTED_NAME).is_file():
            checkpoints[str(directory)] = open_quantized(directory)
        elif (directory / MANIFEST_NAME).is_file():
            manifests[directory] = read_manifest(directory)
            for artifact in manifests[directory].artifacts:
                name = str(directory / artifact.path)
                artifacts[name] = PlacedArtifact(directory, artifact)
        else:
            raise UsageError(
                directory,
                "is neither a quantised checkpoint nor a release",
                "name what `gemma-export quantize` or an export has made",
            )
    return _Subjects(checkpoints, artifacts, manifests)


def _takes_more(subjects: _Subjects) -> bool:
    """Whether one of them takes pictures or sounds too."""
    stored = any(each.towers for each in subjects.checkpoints.values())
    return stored or any(manifest.encoders for manifest in subjects.manifests.values())


def _digests(source: CheckpointSource, order: CompareOrder) -> list[Mapping[str, str]]:
    """Of all the checkpoint, and of its text with fewer towers, which is what some may have been made
    from."""
    towers = [tower.name for tower in towers_of(source.components)]
    fewer = [kept for count in range(len(towers)) for kept in combinations(towers, count)]
    opened = (open_checkpoint(order.model, order.adapter, (*TEXT_ALONE, *kept)) for kept in fewer)
    return [source.digests(), *(each.digests() for each in opened)]


def _require_made_from(
    digests: Sequence[Mapping[str, str]], subjects: _Subjects, order: CompareOrder
) -> None:
    sealed = {name: each.record["source"] for name, each in subjects.checkpoints.items()}
    sealed |= {str(place): each.source["sha256"] for place, each in subjects.manifests.items()}
    for name, found in sealed.items():
        own = {key: each for key, each in found.items() if key != DIGEST_NAME}
        if not any(is_made_from(own, each) for each in digests):
            raise UsageError(
                name,
                f"was not made from {order.model or 'the sample'}"
                + ("" if order.adapter is None else f" and {order.adapter}"),
                "name its checkpoint with --model, and --adapter if it had one; all must be of one",
            )


def _domains(
    source: CheckpointSource, subjects: _Subjects, tokens: int | None
) -> tuple[tuple[Domain, ...], int]:
    """What is compared on, and the tokens of a sequence that every subject takes."""
    contexts = [each.artifact.context for each in subjects.artifacts.values()]
    most = EXECUTED_TOKENS if tokens is None and contexts else tokens
    domains = read_domains(data_directory("samples") / "languages", source, Texts.of(source))
    if tokens is not None and tokens > (longest := max(each.text.available for each in domains)):
        raise UsageError(
            f"--tokens {tokens}",
            f"the longest text of a domain has {longest:,} tokens",
            f"leave it out to compare all of them, or give at most {longest}",
        )
    cut = tuple(replace(domain, text=domain.text.cut(most)) for domain in domains)
    return cut, min([LONGEST, *(context + 1 for context in contexts)])  # the last is only predicted


@dataclass(frozen=True)
class _Sized:
    """A subject before it has figures."""

    name: str
    directory: str
    path: str | None
    format: Format | None
    recipe: str | None
    nbytes: int
    bits: float


def parameters_in(path: str, manifest: Manifest, components: Components) -> int:
    """Of the decoder in an artifact, and of the towers where a bundle holds these too."""
    inside = {each.component for each in manifest.encoders or () if each.path == path}
    towers = (each for each in towers_of(components) if each.name in inside)
    text = components["text"].spec.parameter_count()
    return text + sum(each.spec.parameter_count() for each in towers)


def _sized(name: str, subjects: _Subjects, source: CheckpointSource) -> _Sized:
    if (checkpoint := subjects.checkpoints.get(name)) is not None:
        size = stored_size(checkpoint)
        return _Sized(name, name, None, None, None, size.nbytes, size.bits)
    placed = subjects.artifacts[name]
    manifest, path = subjects.manifests[placed.release], placed.artifact.path
    nbytes = sum(entry.size for entry in manifest.files if entry.path.startswith(path))
    return _Sized(
        name,
        str(placed.release),
        path,
        placed.artifact.format,
        manifest.plan["recipe"],
        nbytes,
        8 * nbytes / parameters_in(path, manifest, source.components),
    )


def _figures(sized: _Sized, domains: Sequence[Domain], found: ByDomain) -> SubjectFigures:
    kinds: dict[DomainKind, dict[str, None]] = {}
    for domain in domains:
        kinds.setdefault(domain.kind, {})[domain.name] = None
    return SubjectFigures(
        name=sized.name,
        directory=sized.directory,
        path=sized.path,
        format=sized.format,
        kind="checkpoint" if sized.path is None else "artifact",
        recipe=sized.recipe,
        nbytes=sized.nbytes,
        bits=sized.bits,
        overall=figures(found),
        kinds={kind: figures({name: found[name] for name in names}) for kind, names in kinds.items()},
        domains=tuple(
            DomainFigures(each.name, each.kind, figures({each.name: found[each.name]})) for each in domains
        ),
    )
