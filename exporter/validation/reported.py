"""`ReportedReleases`: what releases' own reports say of them, side by side and against the one before.

Figures that do not bear on each other are not held against each other, and a remark says so: quality of
another checkpoint or text, speed and resident memory of another machine. Not about reading the reports
(`exporter.reported_releases`), and nothing is executed.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import pairwise

from exporter.checkpoints.identity import are_of_one_checkpoint
from exporter.evaluation.change import relative
from exporter.evaluation.statistics import Statistics
from exporter.planning.device_verdict import DeviceVerdict
from exporter.validation.longest_routes import on_longest_routes
from exporter.validation.report import ArtifactRun, ValidationReport
from exporter.validation.verdict import Outcome, Passed
from runtimes.formats import Format


@dataclass(frozen=True)
class ReportedArtifact:
    """One way an artifact was run. subject: its runtime and arithmetic. end_to_end: on the evaluation text,
    `on_longest_routes`; None where it was not compared. cache_bytes: of its KV cache. Speed and resident
    memory are of the machine that made it."""

    artifact: str
    format: Format
    subject: str
    context: int
    bytes: int
    end_to_end: Statistics | None
    cache_bytes: int | None
    prefill_tokens_per_second: float | None
    decode_tokens_per_second: float | None
    peak_resident_bytes: int | None


@dataclass(frozen=True)
class ReportedRelease:
    """source: digests of the checkpoint it was made from. gates: all of them; held: those that passed."""

    directory: str
    model: str
    source: dict[str, str]
    recipe: str
    target: str
    outcome: Outcome
    gates: int
    held: int
    text_sha256: str
    text_tokens: int
    machine: dict[str, str]
    devices: tuple[DeviceVerdict, ...]
    artifacts: tuple[ReportedArtifact, ...]


@dataclass(frozen=True)
class ReportedChange:
    """An artifact against that of the same format in the release before its own.

    0.1 for a tenth more; of top1 the difference of shares. None where one of the two is not known or they
    do not bear on each other, which a remark says.
    """

    directory: str
    artifact: str
    subject: str
    before_directory: str
    before_artifact: str
    bytes: float | None
    mean_kl: float | None
    top1: float | None
    cache_bytes: float | None
    prefill_tokens_per_second: float | None
    decode_tokens_per_second: float | None
    peak_resident_bytes: float | None


@dataclass(frozen=True)
class ReportedReleases:
    """In the order they were named. remarks: on what was not held against what, a sentence each."""

    releases: tuple[ReportedRelease, ...]
    changes: tuple[ReportedChange, ...]
    remarks: tuple[str, ...]


def reported_release(
    directory: str, report: ValidationReport, source: Mapping[str, str]
) -> ReportedRelease:
    """What matters of a report beside others. source: of the manifest that lies beside it."""
    return ReportedRelease(
        directory=directory,
        model=report.model,
        source=dict(source),
        recipe=report.recipe,
        target=report.target,
        outcome=report.outcome,
        gates=len(report.gates),
        held=sum(isinstance(gate.verdict, Passed) for gate in report.gates),
        text_sha256=report.text_sha256,
        text_tokens=report.text_tokens,
        machine=report.machine,
        devices=report.devices,
        artifacts=tuple(_artifact(run, report) for run in report.runs),
    )


def side_by_side(releases: Sequence[ReportedRelease]) -> ReportedReleases:
    """Each beside the one before it."""
    found: list[ReportedChange] = []
    remarks: list[str] = []
    for before, after in pairwise(releases):
        found += _changes(before, after)
        remarks += _remarks(before, after)
    return ReportedReleases(tuple(releases), tuple(found), tuple(remarks))


def _artifact(run: ArtifactRun, report: ValidationReport) -> ReportedArtifact:
    compared = {(each.artifact, each.subject): each for each in on_longest_routes(report.comparisons)}
    found = compared.get((run.artifact, run.subject))
    return ReportedArtifact(
        artifact=run.artifact,
        format=run.format,
        subject=run.subject,
        context=run.context,
        bytes=run.bytes,
        end_to_end=None if found is None else found.statistics,
        cache_bytes=None if run.cache is None else run.cache.bytes,
        prefill_tokens_per_second=run.prefill_tokens_per_second,
        decode_tokens_per_second=run.decode_tokens_per_second,
        peak_resident_bytes=run.peak_resident_bytes,
    )


def _pairs(
    before: ReportedRelease, after: ReportedRelease
) -> Iterator[tuple[ReportedArtifact, ReportedArtifact]]:
    """Of one format; of several such the one with the same path, then the one that ran alike."""
    for each in after.artifacts:
        alike = [other for other in before.artifacts if other.format == each.format]
        if alike:
            yield min(alike, key=partial(_unlike, each)), each


def _unlike(one: ReportedArtifact, other: ReportedArtifact) -> tuple[bool, bool]:
    return one.artifact != other.artifact, one.subject != other.subject


def _changes(before: ReportedRelease, after: ReportedRelease) -> Iterator[ReportedChange]:
    one_text = before.text_sha256 == after.text_sha256 and _of_one_checkpoint(before, after)
    one_machine = before.machine == after.machine
    for was, now in _pairs(before, after):
        old, new = (was.end_to_end, now.end_to_end) if one_text else (None, None)
        measured = [
            relative(getattr(was, name), getattr(now, name)) if one_machine else None
            for name in ("prefill_tokens_per_second", "decode_tokens_per_second", "peak_resident_bytes")
        ]
        yield ReportedChange(
            after.directory,
            now.artifact,
            now.subject,
            before.directory,
            was.artifact,
            relative(was.bytes, now.bytes),
            relative(old.mean_kl, new.mean_kl) if old is not None and new is not None else None,
            new.top1 - old.top1 if old is not None and new is not None else None,
            relative(was.cache_bytes, now.cache_bytes),
            *measured,
        )


def _of_one_checkpoint(before: ReportedRelease, after: ReportedRelease) -> bool:
    return are_of_one_checkpoint(before.source, after.source)


def _remarks(before: ReportedRelease, after: ReportedRelease) -> Iterator[str]:
    """Why figures of the two are not held against each other."""
    one, other = after.directory, before.directory
    pairs = list(_pairs(before, after))
    if not pairs:
        yield f"{one} and {other} have no format in common, so no artifact of them is compared."
    if not _of_one_checkpoint(before, after):
        names = f"{after.model}, and {before.model} before"
        yield f"{one} was made from another checkpoint than {other} ({names}): quality is not compared."
    if before.text_sha256 != after.text_sha256:
        digests = f"SHA-256 {after.text_sha256[:12]}, and {before.text_sha256[:12]} before"
        yield f"{one} was judged on another text than {other} ({digests}): quality is not compared."
    if before.machine != after.machine:
        yield (
            f"{one} was made on another machine than {other}: speed and resident memory are not compared."
        )
    contexts = {(was.context, now.context) for was, now in pairs if was.context != now.context}
    for was_context, context in sorted(contexts):
        yield (
            f"{one} has a context of {context:,} and {other} one of {was_context:,}: memory and KV cache "
            "are of those."
        )
