"""A picture or a sound on a path whose client prepares it and answers: a browser, say.

    (1) the path is given a sample's file and a question, and answers greedily
    (2) the artifact's own driver is given what the path prepared: its rows, then the path's own answer
    (3) rows and logits are held against each other, and a run whose rows are nothing must differ
What the path prepared otherwise than gemma-export is reported and not gated: a client resizes in its own
way. A path that is not here is put down with its reason (docs/adr/0018). Not about text alone
(`path_check`), nor paths that execute towers by themselves (`tower_paths`).
"""

from __future__ import annotations

import shutil
import time
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from exporter.evaluation.kl_spread import spread_of
from exporter.evaluation.statistics import agree
from exporter.formats.execution_path import Answered, Answering, AnsweringOrder, ExecutionPath
from exporter.formats.rows_driver import RowsLimit
from exporter.models.vision.spec import VisionSpec
from exporter.resources import data_directory
from exporter.validation.checked_tower import CheckedTower
from exporter.validation.execution_check import FINITE
from exporter.validation.gates import NATS, count_gate, mean_kl_gate
from exporter.validation.logits_behind_rows import SENSELESS
from exporter.validation.path_check import LEFT_OVER
from exporter.validation.report import Comparison, Gate, PathExecution, PathFailure, PathRun
from exporter.validation.rows_apart import rows_apart, rows_gates
from exporter.validation.sample_pictures import work_of
from exporter.validation.sound_samples import from_file, to_file
from exporter.validation.verdict import FAILURES, Skipped, at_least
from runtimes.encoder import EncodedRows
from runtimes.errors import (
    ArtifactError,
    BeyondAdapter,
    EncoderError,
    ExecutionFailed,
    RuntimeUnavailable,
    SessionError,
)
from runtimes.images.prepared import PreparedImage
from runtimes.multimodal.passed_files import Prepared
from runtimes.multimodal.session import PlacedRows
from runtimes.session import Logits
from runtimes.sounds.prepared import PreparedSound
from runtimes.sounds.preparing import Waveform, prepared_sound
from runtimes.sounds.processing import read_sound_processing

ANSWERED = 6  # tokens: a software GPU takes a second or more for each
MARKS = 8  # tokens at most that a client writes around a sample's rows, with the one that begins a text


def answer_on_path(tower: CheckedTower, path: ExecutionPath, answering: Answering) -> None:
    """What is found goes to the tower's findings."""
    if (reason := path.missing() or _not_for(tower, answering)) is not None:
        _put_down(tower, path, Skipped(reason))
        return
    scratch = tower.scratch / f"{tower.kind}-{path.name}"
    scratch.mkdir()
    told = f"{tower.path}, {path.title}"
    try:
        with tower.job.stopwatch.step(path.title):
            tower.job.progress(told, 0, 1)
            begin = time.perf_counter()
            answered = answering.run(_order(tower, path, scratch))
            seconds = time.perf_counter() - begin
            _judge(tower, path, answering, answered)
            tower.job.progress(told, 1, 1)
    except (RuntimeUnavailable, BeyondAdapter) as error:
        _put_down(tower, path, Skipped(str(error)))
    except (ArtifactError, SessionError, EncoderError, ExecutionFailed) as error:
        _put_down(tower, path, PathFailure(str(error)))
        tower.not_checked(f"{tower.path}, {path.title}: {error}.")
        tower.gate(count_gate(tower.kind, tower.path, path.title, FAILURES, 1, "failures"))
    else:
        _put_down(tower, path, _executed(tower, answered, seconds))
    finally:
        shutil.rmtree(scratch, ignore_errors=True)  # a killed process may still be letting go of it


def _not_for(tower: CheckedTower, answering: Answering) -> str | None:
    modality, context = tower.modality, tower.artifact.context
    asked = len(tower.job.texts.piece(modality.question)) + ANSWERED + MARKS
    if tower.reference.samples.tried[0].prepared.soft_tokens + asked > context:
        return f"no {modality.sample} with a question and an answer fits a context of {context}"
    spec = modality.spec(tower.release)
    if isinstance(spec, VisionSpec) and work_of(spec, tower.encoder.soft_tokens) > answering.most_work:
        return "a picture of this tower takes what computes here many minutes"
    return None


def _order(tower: CheckedTower, path: ExecutionPath, scratch: Path) -> AnsweringOrder:
    modality, texts = tower.modality, tower.job.texts
    marks = tower.reference.samples.marks[modality.of]
    file = data_directory("samples") / modality.file
    begin = texts.tokenizer.id_to_token(texts.bos_token) or ""
    return AnsweringOrder(
        directory=tower.directory,
        artifact=tower.artifact,
        encoder=tower.encoder,
        kind=modality.of,
        file=file if modality.of == "image" else _as_long_as_heard(tower, file, scratch),
        soft=marks.soft,
        prompt=f"{begin}{marks.placeholder}{modality.question}",
        answered=ANSWERED,
        scratch=scratch,
        seconds=path.seconds,
    )


def _judge(tower: CheckedTower, path: ExecutionPath, answering: Answering, answered: Answered) -> None:
    # (2)
    driver = tower.release.rows_drivers(tower.encoder)[0]
    with driver.open_encoder(tower.directory, tower.encoder, tower.artifact) as encoder:
        rows = encoder.rows(answered.prepared)
    expected, senseless = _logits(tower, answered, (rows, rows * 0))
    # (3)
    kind, artifact, subject = tower.kind, tower.path, path.title
    apart = rows_apart(rows, answered.rows[:, : rows.shape[1]])
    limit = RowsLimit(answering.relative, answering.cosine)
    for gate in rows_gates(kind, artifact, subject, [apart], limit):
        tower.gate(gate)
    chosen = answered.tokens[answered.prompted :]
    agreement = agree(expected, answered.logits, chosen)
    statistics, kl = agreement.statistics(), spread_of(agreement.kl, along=False)
    route = f"{_sample(tower)} in a prompt of {answered.prompted}, {len(chosen)} tokens of an answer"
    tower.findings.comparisons.append(
        Comparison(kind, artifact, subject, path.reference, route, statistics, kl)
    )
    non_finite = int(answered.logits.size - np.isfinite(answered.logits).sum())
    tower.gate(count_gate(kind, artifact, subject, FINITE, non_finite, "logits"))
    tower.gate(mean_kl_gate(kind, artifact, subject, statistics, path.mean_kl_limit))
    away = float(agree(senseless, answered.logits, chosen).kl.mean())
    verdict = at_least(away, SENSELESS, NATS)
    tower.gate(Gate(kind, artifact, subject, tower.modality.senseless_kl, verdict))
    if answered.left_over is not None:
        count = len(answered.left_over)
        tower.gate(count_gate(kind, artifact, subject, LEFT_OVER, count, "operations"))


def _logits(tower: CheckedTower, answered: Answered, tried: Sequence[EncodedRows]) -> list[Logits]:
    """By which the artifact's own driver would choose each token of the answer behind each of these rows,
    [answered, vocab]."""
    driver, of = tower.release.rows_drivers(tower.encoder)[0], tower.modality.of
    prompt, answer = answered.tokens[: answered.prompted], answered.tokens[answered.prompted :]
    start = int((prompt == tower.reference.samples.marks[of].soft).argmax())
    found = []
    with driver.open_session(tower.directory, tower.encoder, tower.artifact) as session:
        for rows in tried:
            session.reset()
            first = session.prefill_with_rows(prompt, [PlacedRows(start, rows, of)])[-1].copy()
            found.append(np.stack([first, *(session.decode(int(token)) for token in answer[:-1])]))
    return found


def _sample(tower: CheckedTower) -> str:
    return Path(tower.modality.file).name


def _executed(tower: CheckedTower, answered: Answered, seconds: float) -> PathExecution:
    prepared = _prepared_otherwise(_prepared(tower), answered.prepared)
    return PathExecution(
        runtime=answered.runtime,
        version=answered.version,
        device=answered.device,
        arithmetic=answered.arithmetic,
        left_over=answered.left_over,
        positions=len(answered.logits),
        seconds=seconds,
        remarks=(f"It opened {_sample(tower)} and answered about it; {prepared}.",),
    )


def _prepared(tower: CheckedTower) -> Prepared:
    """What gemma-export makes of the same file."""
    if tower.modality.of == "image":
        return tower.reference.samples.tried[0].prepared
    return prepared_sound(_heard(tower), read_sound_processing(tower.directory))


def _as_long_as_heard(tower: CheckedTower, file: Path, scratch: Path) -> Path:
    """A sound's file, or one of as much of it as the model hears at most: a client that is given more does
    what no driver here does."""
    heard = _heard(tower)
    if len(heard) == len(from_file(file)):
        return file
    cut = scratch / file.name
    to_file(heard, cut)
    return cut


def _heard(tower: CheckedTower) -> Waveform:
    processing = read_sound_processing(tower.directory)
    samples = from_file(data_directory("samples") / tower.modality.file)
    return samples[: int(processing.longest * processing.sampling_rate)]


def _prepared_otherwise(ours: Prepared, theirs: Prepared) -> str:
    """How what a client prepared differs from gemma-export's, a clause."""
    match ours, theirs:
        case PreparedImage(), PreparedImage():
            what, one, other = "pixels", ours.pixels, theirs.pixels
        case PreparedSound(), PreparedSound():
            what, one, other = "spectra", ours.features, theirs.features
        case _:
            raise ExecutionFailed("a path prepared a picture for a sound, or the other way round")
    if one.shape != other.shape:
        return f"its {what} are {list(other.shape)}, where gemma-export's are {list(one.shape)}"
    apart = np.abs(one.astype(np.float64) - other)
    return (
        f"its own {what} are up to {apart.max():.2g} from gemma-export's, {apart.mean():.2g} on the mean, "
        f"of numbers up to {np.abs(one).max():.3g}"
    )


def _put_down(
    tower: CheckedTower, path: ExecutionPath, result: PathExecution | PathFailure | Skipped
) -> None:
    tower.findings.paths.append(PathRun(tower.path, path.name, path.title, path.says_nothing_of, result))
