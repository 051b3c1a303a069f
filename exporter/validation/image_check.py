"""Does a release see? Each image tower, and the decoder that takes its rows, against transformers.

    (1) what transformers makes of the sample pictures and of prompts with them          image_reference
    (2) the tower's weights read back from the written file                              stored_weights
    (3) its float twin's rows, where its lowering makes one, against transformers' on the quantised tower
    (4) its own rows against the same                                                    image_rows
    (5) logits behind pictures: transformers' rows for both, so that the decoder alone is judged; with rows
        of its own against the original; text alone against the artifact for text        image_prompts
    (6) a blind run, whose rows are nothing, must differ
    (7) greedy answers about each picture                                                image_answers
    (8) its rows on every execution path that is here                                    image_paths
Kernels round: logits may stray `ROUNDING` times as far as they do without a picture. Not about what is done
to a picture before (`runtimes.images.preparing`, held against transformers' processors by tests).
"""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from exporter.errors import LoweringError
from exporter.evaluation.kl_spread import spread_of
from exporter.evaluation.statistics import Agreement, agree
from exporter.formats.image_driver import QUANTISED_ROWS, ImageDriver, RowsLimit
from exporter.job import Job
from exporter.lowering.interface import MakesTowerTwins
from exporter.validation.baselines import ORIGINAL, QUANTISED
from exporter.validation.findings import Findings, ReleaseUnderTest
from exporter.validation.gates import MEAN_KL, NATS, count_gate, skipped_gate
from exporter.validation.image_answers import QUESTION, JudgedAnswer, PictureAnswer, answer, judged
from exporter.validation.image_paths import see_on_paths
from exporter.validation.image_prompts import Returned, given, given_text
from exporter.validation.image_reference import ImageReference, image_reference, not_tried
from exporter.validation.image_rows import IMAGES, RowsApart, rows_apart, rows_gates
from exporter.validation.report import Comparison, Gate, ImageInput, ImageRun, PictureRun
from exporter.validation.stored_weights import differing_by_matrix
from exporter.validation.tower_under_test import TowerUnderTest
from exporter.validation.verdict import at_least, at_most
from runtimes.errors import ArtifactError, EncoderError, NoRoomForCall, RuntimeUnavailable, SessionError
from runtimes.images.prepared import ImageRows
from runtimes.images.processing import read_processing
from runtimes.images.session import ImageSession
from runtimes.manifest import EncoderArtifact
from runtimes.session import SessionFacts

ROUNDING = 10.0  # times the KL of the same text without a picture; kernels here measure up to 5
BLIND = 1e-2  # nats that rows of nothing must move logits by
LOST, TOKENS = "answer tokens lost", "tokens"
FAILURES, DIFFERING = "failures to run", "differing numbers"
BLIND_KL = "mean KL of a blind run"


@dataclass(frozen=True)
class _Check(TowerUnderTest):
    """One way to run it."""

    driver: ImageDriver


@dataclass(frozen=True)
class _Ran:
    """What one way to run them gave."""

    check: _Check
    subject: str
    apart: tuple[RowsApart, ...]
    seconds: tuple[float, ...]
    answers: tuple[PictureAnswer, ...]


def check_images(job: Job, release: ReleaseUnderTest, scratch: Path, findings: Findings) -> None:
    """Everything about images, where the release takes any; nothing where it does not."""
    if not release.encoders:
        return
    processing = read_processing(release.directory)
    # (1)
    reference = image_reference(job, release, processing, scratch)
    taking = {each.format: each for each in release.encoders}
    runs = [_quantised(reference, findings)]
    ran: list[_Ran] = []
    for artifact in release.artifacts:
        if (encoder := taking.get(artifact.format)) is not None:
            with job.stopwatch.step(encoder.path), job.stopwatch.step("pictures"):
                tower = TowerUnderTest(job, release, encoder, artifact, reference, scratch, findings)
                # (2)
                _read_back(tower)
                ran += _run_every_way(tower)
                # (8)
                runs += see_on_paths(tower)
    # (7)
    with job.stopwatch.step("answers about pictures judged"):
        opinions = iter(judged(job, reference, [each for one in ran for each in one.answers]))
    runs += [_run(one, [next(opinions) for _ in one.answers]) for one in ran]
    not_by = tuple(each.path for each in release.artifacts if each.format not in taking)
    findings.images = ImageInput(
        processing.soft_tokens, tuple(each.path for each in release.encoders), not_by, tuple(runs)
    )
    findings.not_checked += not_tried(reference, release, not_by)


def _quantised(reference: ImageReference, findings: Findings) -> ImageRun:
    """What quantising costs the rows."""
    both = zip(reference.rows[ORIGINAL], reference.rows[QUANTISED], strict=True)
    apart = tuple(rows_apart(original, quantised) for original, quantised in both)
    subject = reference.weights[QUANTISED].description
    findings.gates += rows_gates(None, f"{subject}, image tower", list(apart), QUANTISED_ROWS)
    return ImageRun(None, subject, _pictures(reference, apart, (), {}))


def _run_every_way(tower: TowerUnderTest) -> list[_Ran]:
    found = []
    for driver in tower.release.image_drivers(tower.encoder.format):
        check = _Check(**vars(tower), driver=driver)
        subject = driver.driver.arithmetic
        try:
            # (3)
            _twin(check)
            # (4) to (6)
            found.append(_execute(check))
        except RuntimeUnavailable as error:
            check.gate(skipped_gate(IMAGES, check.path, subject, FAILURES, str(error)))
        except (ArtifactError, SessionError, EncoderError) as error:
            check.findings.not_checked.append(f"{check.path}, {subject}: {error}.")
            check.gate(count_gate(IMAGES, check.path, subject, FAILURES, 1, "failures"))
    return found


def _read_back(tower: TowerUnderTest) -> None:
    try:
        stored = tower.lowering.read_back(tower.directory, replace(tower.artifact, path=tower.path))
        count = differing_by_matrix(stored, tower.release.checkpoint, "vision").total()
        statistic, unit = DIFFERING, "numbers"
    except (LoweringError, ArtifactError) as error:
        tower.findings.not_checked.append(f"{tower.path}: {error}.")
        count, statistic, unit = 1, "unreadable", "files"
    tower.gate(count_gate(IMAGES, tower.path, "stored tower weights", statistic, count, unit))


def _twin(check: _Check) -> None:
    lowering, subject = check.lowering, f"float twin of the tower, {check.driver.driver.arithmetic}"
    if not isinstance(lowering, MakesTowerTwins):
        said = (
            f"{check.path}: its tower has no float twin here, so that conversion and the kernels' rounding "
            "were judged together."
        )
        if said not in check.findings.not_checked:
            check.findings.not_checked.append(said)
        return
    out = check.scratch / "tower-twin"
    out.mkdir(exist_ok=True)
    try:
        twin = lowering.tower_twin(check.directory, check.encoder, out)
    except LoweringError as error:
        reason = f"the float twin cannot be made: {error}"
        check.gate(skipped_gate(IMAGES, check.path, subject, MEAN_KL, reason))
        return
    rows, _ = _rows(check, out, twin)
    _judge_rows(check, subject, rows, check.driver.twin_limit)


def _rows(
    check: _Check, directory: Path, encoder: EncoderArtifact
) -> tuple[tuple[ImageRows, ...], tuple[float, ...]]:
    """Of each picture, and the seconds it took."""
    found, seconds = [], []
    with check.driver.open_encoder(directory, encoder, check.artifact) as tower:
        for number, picture in enumerate(check.reference.pictures):
            check.job.progress(f"{check.path}: pictures", number, len(check.reference.pictures))
            begin = time.perf_counter()
            found.append(tower.rows(picture.prepared))
            seconds.append(time.perf_counter() - begin)
    check.job.progress(f"{check.path}: pictures", len(found), len(found))
    return tuple(found), tuple(seconds)


def _judge_rows(
    check: _Check, subject: str, rows: Sequence[ImageRows], limit: RowsLimit
) -> tuple[RowsApart, ...]:
    both = zip(check.reference.rows[QUANTISED], rows, strict=True)
    apart = tuple(rows_apart(expected, found) for expected, found in both)
    check.findings.gates += rows_gates(check.path, subject, list(apart), limit)
    return apart


def _execute(check: _Check) -> _Ran:
    reference, directory = check.reference, check.directory
    rows, seconds = _rows(check, directory, check.encoder)
    if not reference.prompts or not reference.prompts[0].pictures:
        raise SessionError(
            f"{check.encoder.decoder}: no sample picture with text around it fits a context of "
            f"{check.artifact.context}; export with a larger --context or fewer --image-tokens"
        )
    question = check.job.texts.piece(QUESTION)
    shared = reference.rows[QUANTISED]
    with check.driver.open_session(directory, check.encoder, check.artifact) as session:
        subject = _subject(session.facts)
        # (4)
        apart = _judge_rows(check, f"{subject}: rows", rows, check.driver.rows_limit)
        # (5)
        seen = _given(check, subject, session, shared)
        own = _given(check, subject, session, rows)
        # (6)
        blind = given(session, reference.prompts[0], [each * 0 for each in rows])
        # (7)
        answers = [
            answer(session, reference.parts, question, number, each) for number, each in enumerate(rows)
        ]
    _judge_logits(check, subject, seen)
    for number, found in own.items():
        _compare(check, subject, ORIGINAL, number, found)
    _judge_blind(check, subject, own[0], blind)
    _judge_text_alone(check, subject, seen[len(reference.prompts) - 1])
    return _Ran(check, subject, apart, seconds, tuple(each for each in answers if each is not None))


def _given(
    check: _Check, subject: str, session: ImageSession, rows: Sequence[ImageRows]
) -> dict[int, Returned]:
    """What comes back of each prompt by its number, of those for which there is room."""
    found = {}
    for number, prompt in enumerate(check.reference.prompts):
        try:
            found[number] = given(session, prompt, rows)
        except NoRoomForCall as error:
            if number == 0:
                raise
            said = f"{check.path}, {subject}, {prompt.name}: {error}."
            check.findings.not_checked += [said] if said not in check.findings.not_checked else []
    return found


def _judge_logits(check: _Check, subject: str, seen: Mapping[int, Returned]) -> None:
    kl = {
        number: float(_compare(check, subject, QUANTISED, number, found).kl.mean())
        for number, found in seen.items()
    }
    limit = check.driver.driver.lowering_limit + ROUNDING * kl.pop(len(check.reference.prompts) - 1)
    for number, measured in kl.items():
        where = f"{subject}: {check.reference.prompts[number].name}"
        verdict = at_most(measured, limit, NATS)
        check.gate(Gate(IMAGES, check.encoder.decoder, where, MEAN_KL, verdict))


def _compare(check: _Check, subject: str, name: str, number: int, found: Returned) -> Agreement:
    """How logits behind one prompt agree with transformers', put down as a comparison."""
    reference, prompt = check.reference, check.reference.prompts[number]
    expected = reference.logits_of(name, number)[found.at]
    agreement = agree(expected, found.logits, prompt.tokens[prompt.at[found.at] + 1])
    check.findings.comparisons.append(
        Comparison(
            IMAGES,
            check.encoder.decoder,
            subject,
            reference.weights[name].description,
            prompt.name,
            agreement.statistics(),
            spread_of(agreement.kl, along=False),
        )
    )
    return agreement


def _judge_blind(check: _Check, subject: str, seeing: Returned, blind: Returned) -> None:
    prompt = check.reference.prompts[0]
    apart = agree(seeing.logits, blind.logits, prompt.tokens[prompt.at[seeing.at] + 1])
    verdict = at_least(float(apart.kl.mean()), BLIND, NATS)
    check.gate(Gate(IMAGES, check.encoder.decoder, subject, BLIND_KL, verdict))


def _judge_text_alone(check: _Check, subject: str, found: Returned) -> None:
    """What takes images says to text what the artifact for text says."""
    prompt, driver = check.reference.prompts[-1], check.driver.driver
    with driver.open(check.directory, check.artifact) as session:
        expected = given_text(session, prompt)
    both = {int(at): row for row, at in enumerate(expected.at)}
    rows = [row for row, at in enumerate(found.at) if int(at) in both]
    at = found.at[rows]
    wanted = expected.logits[[both[int(each)] for each in at]]
    apart = agree(wanted, found.logits[rows], prompt.tokens[prompt.at[at] + 1])
    verdict = at_most(float(apart.kl.mean()), driver.hand_over_limit, NATS)
    check.gate(Gate(IMAGES, check.encoder.decoder, f"{subject}: text alone", MEAN_KL, verdict))


def _run(ran: _Ran, opinions: Sequence[JudgedAnswer]) -> ImageRun:
    check = ran.check
    path, subject, findings = check.encoder.decoder, ran.subject, check.findings
    if any(each.decided for each in opinions):
        lost = sum(each.lost for each in opinions)
        check.gate(count_gate(IMAGES, path, f"{subject}: answers", LOST, lost, TOKENS))
    else:
        findings.not_checked.append(
            f"{path}, {subject}: transformers on the quantised checkpoint is decided about no token of the "
            "answers about pictures, so that none could be lost."
        )
    said = {each.number: opinion for each, opinion in zip(ran.answers, opinions, strict=True)}
    return ImageRun(check.path, subject, _pictures(check.reference, ran.apart, ran.seconds, said))


def _pictures(
    reference: ImageReference,
    apart: Sequence[RowsApart],
    seconds: Sequence[float],
    said: dict[int, JudgedAnswer],
) -> tuple[PictureRun, ...]:
    return tuple(
        PictureRun(
            picture=picture.name,
            soft_tokens=picture.prepared.soft_tokens,
            largest=apart[number].largest,
            relative=apart[number].relative,
            cosine=apart[number].cosine,
            seconds=seconds[number] if seconds else None,
            answer=said[number].run if number in said else None,
        )
        for number, picture in enumerate(reference.pictures)
    )


def _subject(facts: SessionFacts) -> str:
    return f"{facts.runtime} {facts.version}, {facts.arithmetic}"
