"""A release checked by itself: its checksums, its tokenizer, and its recorded calls made again.

Needs no checkpoint and no torch; says nothing of quality, which was measured against the checkpoint when
the release was made. An artifact is not run once one of its files has changed. Not about the full check
(`exporter.revalidation`).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path

from exporter.errors import TokenizerError
from exporter.packaging.release import Problem, verify_release
from exporter.progress import Progress
from exporter.running.placed_release import COPY_AGAIN, PlacedRelease
from exporter.validation.verdict import EXIT_CODES, FAILURES, Outcome, Skipped, Verdict, at_most, outcome
from runtimes.errors import ArtifactError, RuntimeUnavailable, SessionError
from runtimes.manifest import Artifact
from runtimes.open import Opener, open_session, openers_of_this_system
from runtimes.recorded_calls import (
    RECORD_NAME,
    RecordedArtifact,
    RecordedCalls,
    RecordedText,
    read_recorded_calls,
)
from runtimes.replaying import replay

TOKENIZER_NAME = "tokenizer.json"
NO_RECORD = "the release was made before calls were recorded: export it again, or name its checkpoint"
NOT_IN_RECORD = "the release holds no recorded calls of it: it could not be run when it was made"
NO_TOKENIZERS = "tokenizers is not installed; install gemma-export[run]"


@dataclass(frozen=True)
class RecordedGate:
    """subject: a file of the release, "files" for all of them. by: what ran it, in words."""

    subject: str
    by: str
    statistic: str
    verdict: Verdict


@dataclass(frozen=True)
class RecordedCheck:
    """All gates, in the order they were tried. remarks: what went wrong where, a sentence each."""

    model: str
    recipe: str
    target: str
    gates: tuple[RecordedGate, ...]
    remarks: tuple[str, ...]

    @property
    def outcome(self) -> Outcome:
        return outcome(gate.verdict for gate in self.gates)

    @property
    def exit_code(self) -> int:
        return EXIT_CODES[self.outcome]


def check_by_record(directory: Path, progress: Progress) -> RecordedCheck:
    """Raises ManifestError for what is no release, RecordedCallsError for a record that cannot be read
    though it is as it was sealed."""
    release = PlacedRelease.open(directory)
    problems = verify_release(directory, progress)
    gates = [RecordedGate("files", "", "differences", at_most(len(problems), 0, "files"))]
    remarks = [f"{problem}." for problem in problems]
    changed = {problem.path: problem for problem in problems}
    record = None if RECORD_NAME in changed else read_recorded_calls(directory, release.manifest)
    if RECORD_NAME in changed or record is None:
        why = NO_RECORD if RECORD_NAME not in changed else changed[RECORD_NAME].in_short
        gates += [_skipped(each.path, why) for each in release.decoders()]
    else:
        found = [_tokenizer(directory, record.texts, changed.get(TOKENIZER_NAME))]
        for artifact in release.decoders():
            found += _artifact(release, artifact, record, changed, progress)
        gates += [gate for gate, _ in found]
        remarks += [remark for _, remark in found if remark]
    manifest = release.manifest
    plan = manifest.plan
    if manifest.encoders:
        towers = ", ".join(dict.fromkeys(each.path for each in manifest.encoders))
        remarks.append(
            f"No recorded call has a picture or a sound: encoders of them were not run ({towers})."
        )
    return RecordedCheck(
        manifest.model["name"], plan["recipe"], plan["target"], tuple(gates), tuple(remarks)
    )


def _tokenizer(
    directory: Path, texts: tuple[RecordedText, ...], problem: Problem | None
) -> tuple[RecordedGate, str]:
    """As `_artifact`."""

    def gate(verdict: Verdict) -> tuple[RecordedGate, str]:
        return RecordedGate(TOKENIZER_NAME, "tokenizers", "texts with other tokens", verdict), ""

    if problem is not None:
        return gate(Skipped(problem.in_short))
    if find_spec("tokenizers") is None:
        return gate(Skipped(NO_TOKENIZERS))
    from exporter.reference.texts import load_tokenizer

    try:
        tokenizer = load_tokenizer(directory / TOKENIZER_NAME, COPY_AGAIN)
    except TokenizerError as error:
        return RecordedGate(TOKENIZER_NAME, "", "failures to read", at_most(1, 0, "failures")), f"{error}."
    others = [
        each
        for each in texts
        if tuple(tokenizer.encode(each.text, add_special_tokens=False).ids) != each.tokens
    ]
    return gate(at_most(len(others), 0, "texts"))


def _artifact(
    release: PlacedRelease,
    artifact: Artifact,
    record: RecordedCalls,
    changed: Mapping[str, Problem],
    progress: Progress,
) -> Iterator[tuple[RecordedGate, str]]:
    """Gates, each with what to say beside it, "" for nothing."""
    edited = sorted(changed.keys() & {entry.path for entry in release.files_of(artifact)})
    if edited:
        yield _skipped(artifact.path, f"{changed[edited[0]].in_short}, and it was not run"), ""
        return
    if (recorded := record.of(artifact)) is None:
        yield _skipped(artifact.path, NOT_IN_RECORD), ""
        return
    for opener in (open_session, *openers_of_this_system(artifact)):
        yield from _replayed(release.directory, artifact, recorded, opener, progress)


def _replayed(
    directory: Path, artifact: Artifact, recorded: RecordedArtifact, opener: Opener, progress: Progress
) -> Iterator[tuple[RecordedGate, str]]:
    total = recorded.token_count
    try:
        with opener(directory, artifact) as session:
            facts = session.facts
            by = f"{facts.runtime} {facts.version}, {facts.arithmetic}"
            what = f"replay {artifact.path}, {by}"
            found = replay(session, recorded, lambda done: progress(what, done, total))
    except RuntimeUnavailable as error:
        yield _skipped(artifact.path, str(error)), ""
        return
    except (ArtifactError, SessionError) as error:
        gate = RecordedGate(artifact.path, "", FAILURES, at_most(1, 0, "failures"))
        yield gate, f"{artifact.path}: {error}."
        return
    limits, path = recorded.tolerances, artifact.path
    yield (
        RecordedGate(path, by, "mean KL from the record", at_most(found.mean_kl, limits.mean_kl, "nats")),
        "",
    )
    yield RecordedGate(path, by, "largest KL", at_most(found.max_kl, limits.max_kl, "nats")), ""


def _skipped(subject: str, reason: str) -> RecordedGate:
    return RecordedGate(subject, "", "recorded calls", Skipped(reason))
