"""Does a release see, or hear? Each tower, and the decoder that takes its rows, against transformers.

    (1) what transformers makes of the samples and of prompts with them                  rows_reference
    (2) the tower's weights read back from the written file                              stored_weights
    (3) its float twin's rows, where its lowering makes one, against transformers' on the quantised tower
    (4) its own rows against the same                                                    rows_apart
    (5) logits behind samples, text alone, and a blind or deaf run                       logits_behind_rows
    (6) greedy answers about each sample                                                 rows_answers
    (7) its rows, and prompts with them, on every execution path that is here            tower_paths
Not about which samples (`modality`), nor about what is done to a picture or sound before
(`runtimes.images.preparing`, `runtimes.sounds.preparing`, held against transformers' processors by tests).
"""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from exporter.errors import LoweringError
from exporter.formats.rows_driver import QUANTISED_ROWS, RowsLimit
from exporter.job import Job
from exporter.lowering.interface import MakesTowerTwins
from exporter.validation.baselines import ORIGINAL, QUANTISED
from exporter.validation.checked_tower import CheckedRun, CheckedTower, RanTower
from exporter.validation.findings import Findings, ReleaseUnderTest
from exporter.validation.gates import MEAN_KL, count_gate, skipped_gate
from exporter.validation.logits_behind_rows import judge_logits, logits_behind
from exporter.validation.modality import Modality
from exporter.validation.report import SampleRun, TowerInput, TowerRun
from exporter.validation.rows_answers import JudgedAnswer, answer, judged
from exporter.validation.rows_apart import RowsApart, rows_apart, rows_gates
from exporter.validation.rows_reference import RowsReference, not_tried, rows_reference
from exporter.validation.stored_weights import differing_by_matrix
from exporter.validation.tower_paths import towers_on_paths
from exporter.validation.verdict import FAILURES
from runtimes.encoder import EncodedRows
from runtimes.errors import ArtifactError, EncoderError, RuntimeUnavailable, SessionError
from runtimes.manifest import EncoderArtifact
from runtimes.session import SessionFacts

LOST, TOKENS = "answer tokens lost", "tokens"
DIFFERING = "differing numbers"


def check_towers(
    modality: Modality, job: Job, release: ReleaseUnderTest, scratch: Path, findings: Findings
) -> None:
    """Everything about images, or sounds, where the release takes any; nothing where it does not."""
    encoders = modality.encoders(release)
    if not encoders:
        return
    # (1)
    reference = rows_reference(modality, job, release, scratch)
    taking = {each.format: each for each in encoders}
    runs = [_quantised(reference, findings)]
    ran: list[RanTower] = []
    for artifact in release.artifacts:
        if (encoder := taking.get(artifact.format)) is not None:
            with job.stopwatch.step(encoder.path), job.stopwatch.step(f"{modality.sample}s"):
                tower = CheckedTower(job, release, encoder, artifact, reference, scratch, findings)
                # (2)
                _read_back(tower)
                ran += _run_every_way(tower)
                # (7)
                runs += towers_on_paths(tower)
    # (6)
    with job.stopwatch.step(f"answers about {modality.sample}s judged"):
        opinions = iter(judged(job, reference, [each for one in ran for each in one.answers]))
    runs += [_reported(one, [next(opinions) for _ in one.answers]) for one in ran]
    not_by = tuple(each.path for each in release.artifacts if each.format not in taking)
    findings.towers[modality.kind] = TowerInput(
        reference.samples.soft_tokens, tuple(each.path for each in encoders), not_by, tuple(runs)
    )
    findings.not_checked += not_tried(reference, release, not_by)


def _quantised(reference: RowsReference, findings: Findings) -> TowerRun:
    """What quantising costs the rows."""
    both = zip(reference.rows[ORIGINAL], reference.rows[QUANTISED], strict=True)
    apart = tuple(rows_apart(original, quantised) for original, quantised in both)
    subject, modality = reference.weights[QUANTISED].description, reference.modality
    whose = f"{subject}, {modality.tower}"
    findings.gates += rows_gates(modality.kind, None, whose, list(apart), QUANTISED_ROWS)
    return TowerRun(None, subject, _samples(reference, apart, (), {}))


def _run_every_way(tower: CheckedTower) -> list[RanTower]:
    found = []
    for driver in tower.release.rows_drivers(tower.encoder):
        run = CheckedRun(**vars(tower), driver=driver)
        subject = driver.driver.arithmetic
        try:
            # (3)
            _twin(run)
            # (4), (5)
            found.append(_execute(run))
        except RuntimeUnavailable as error:
            run.gate(skipped_gate(run.kind, run.path, subject, FAILURES, str(error)))
        except (ArtifactError, SessionError, EncoderError) as error:
            run.not_checked(f"{run.path}, {subject}: {error}.")
            run.gate(count_gate(run.kind, run.path, subject, FAILURES, 1, "failures"))
    return found


def _read_back(tower: CheckedTower) -> None:
    component = tower.modality.component
    try:
        stored = tower.lowering.read_back(tower.directory, replace(tower.artifact, path=tower.path))
        count = differing_by_matrix(stored, tower.release.checkpoint, component).total()
        statistic, unit = DIFFERING, "numbers"
    except (LoweringError, ArtifactError) as error:
        tower.not_checked(f"{tower.path}: {error}.")
        count, statistic, unit = 1, "unreadable", "files"
    tower.gate(count_gate(tower.kind, tower.path, "stored tower weights", statistic, count, unit))


def _twin(run: CheckedRun) -> None:
    lowering, subject = run.lowering, f"float twin of the tower, {run.driver.driver.arithmetic}"
    if not isinstance(lowering, MakesTowerTwins):
        run.not_checked(
            f"{run.path}: its tower has no float twin here, so that conversion and the kernels' rounding "
            "were judged together."
        )
        return
    out = run.scratch / f"{run.kind}-twin"
    out.mkdir(exist_ok=True)
    try:
        twin = lowering.tower_twin(run.directory, run.encoder, out)
    except LoweringError as error:
        reason = f"the float twin cannot be made: {error}"
        run.gate(skipped_gate(run.kind, run.path, subject, MEAN_KL, reason))
        return
    rows, _ = _rows(run, out, twin)
    _judge_rows(run, subject, rows, run.driver.twin_limit)


def _rows(
    run: CheckedRun, directory: Path, encoder: EncoderArtifact
) -> tuple[tuple[EncodedRows, ...], tuple[float, ...]]:
    """Of each sample, and the seconds it took."""
    found, seconds = [], []
    samples, told = run.reference.samples.tried, f"{run.path}: {run.modality.sample}s"
    with run.driver.open_encoder(directory, encoder, run.artifact) as tower:
        for number, sample in enumerate(samples):
            run.job.progress(told, number, len(samples))
            begin = time.perf_counter()
            found.append(tower.rows(sample.prepared))
            seconds.append(time.perf_counter() - begin)
    run.job.progress(told, len(found), len(found))
    return tuple(found), tuple(seconds)


def _judge_rows(
    run: CheckedRun, subject: str, rows: Sequence[EncodedRows], limit: RowsLimit
) -> tuple[RowsApart, ...]:
    both = zip(run.reference.rows[QUANTISED], rows, strict=True)
    apart = tuple(rows_apart(expected, found) for expected, found in both)
    run.findings.gates += rows_gates(run.kind, run.path, subject, list(apart), limit)
    return apart


def _execute(run: CheckedRun) -> RanTower:
    reference, modality = run.reference, run.modality
    rows, seconds = _rows(run, run.directory, run.encoder)
    if not reference.prompts or not reference.prompts[0].samples:
        raise SessionError(
            f"{run.encoder.decoder}: no sample {modality.sample} with text around it fits a context of "
            f"{run.artifact.context}; {modality.advice}"
        )
    question = run.job.texts.piece(modality.question)
    with run.driver.open_session(run.directory, run.encoder, run.artifact) as session:
        subject = _subject(session.facts)
        # (4)
        apart = _judge_rows(run, f"{subject}: rows", rows, run.driver.rows_limit)
        # (5)
        found = logits_behind(run, subject, session, rows)
        # (6)
        answers = [
            answer(session, reference.parts, question, number, each) for number, each in enumerate(rows)
        ]
    judge_logits(run, found)
    return RanTower(run, subject, apart, seconds, tuple(each for each in answers if each is not None))


def _reported(ran: RanTower, opinions: Sequence[JudgedAnswer]) -> TowerRun:
    run = ran.run
    path, subject = run.encoder.decoder, ran.subject
    said = {each.number: opinion for each, opinion in zip(ran.answers, opinions, strict=True)}
    tried = enumerate(run.reference.samples.tried)
    if unasked := ", ".join(each.name for number, each in tried if number not in said):
        run.not_checked(
            f"{path}, {subject}: no answer was asked for about {unasked}: the context of "
            f"{run.artifact.context:,} tokens has no room for one."
        )
    if any(each.decided for each in opinions):
        lost = sum(each.lost for each in opinions)
        run.gate(count_gate(run.kind, path, f"{subject}: answers", LOST, lost, TOKENS))
    elif opinions:
        run.not_checked(
            f"{path}, {subject}: transformers on the quantised checkpoint is decided about no token of the "
            f"answers about {run.modality.sample}s, so that none could be lost."
        )
    return TowerRun(run.path, subject, _samples(run.reference, ran.apart, ran.seconds, said))


def _samples(
    reference: RowsReference,
    apart: Sequence[RowsApart],
    seconds: Sequence[float],
    said: Mapping[int, JudgedAnswer],
) -> tuple[SampleRun, ...]:
    return tuple(
        SampleRun(
            sample=sample.name,
            soft_tokens=sample.prepared.soft_tokens,
            largest=apart[number].largest,
            relative=apart[number].relative,
            cosine=apart[number].cosine,
            seconds=seconds[number] if seconds else None,
            answer=said[number].run if number in said else None,
        )
        for number, sample in enumerate(reference.samples.tried)
    )


def _subject(facts: SessionFacts) -> str:
    return f"{facts.runtime} {facts.version}, {facts.arithmetic}"
