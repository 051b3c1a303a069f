"""A tower on every execution path that is here and takes such towers: its rows against transformers'.

One sample each: a software GPU takes long. What is not tried is said, and so is that no prompt with a
sample was. Not about what a path is (`exporter.formats.execution_path`), nor about text (`path_check`), nor
about paths that answer (`path_answers`).
"""

from __future__ import annotations

import shutil

from exporter.formats.execution_path import ExecutionPath, Seeing, SeeingAnswer, SeeingOrder
from exporter.formats.rows_driver import RowsLimit
from exporter.models.vision.spec import VisionSpec
from exporter.validation.baselines import QUANTISED
from exporter.validation.checked_tower import CheckedTower
from exporter.validation.gates import count_gate
from exporter.validation.path_answers import answer_on_path
from exporter.validation.path_check import LEFT_OVER
from exporter.validation.report import SampleRun, TowerRun
from exporter.validation.rows_apart import rows_apart, rows_gates
from exporter.validation.sample_pictures import work_of
from runtimes.errors import (
    ArtifactError,
    BeyondAdapter,
    EncoderError,
    ExecutionFailed,
    RuntimeUnavailable,
)
from runtimes.images.prepared import PreparedImage

FAILURES = "failures to run"


def rows_on_paths(tower: CheckedTower) -> list[TowerRun]:
    """Gates and remarks go to the findings; what was executed comes back. A path that is not here is put
    down by the check of the text."""
    found, modality = [], tower.modality
    for path in tower.release.paths(tower.encoder.format):
        if path.answering is not None:
            answer_on_path(tower, path, path.answering)
            continue
        if path.missing() is not None:
            continue
        seeing, sample = path.seeing, tower.reference.samples.tried[0].prepared
        if seeing is None or not isinstance(sample, PreparedImage):
            _say(tower, path, f"{modality.sample}s were not given to it, only text")
        elif (why := _not_for(tower, path, seeing)) is not None:
            _say(tower, path, f"its {modality.tower} was not tried: {why}")
        elif (rows := _see(tower, path, seeing, sample)) is not None:
            found.append(rows)
            _say(tower, path, f"its {modality.tower} was given a {modality.sample}, and its decoder none")
    return found


def _say(tower: CheckedTower, path: ExecutionPath, why: object) -> None:
    tower.not_checked(f"{tower.path}, {path.title}: {why}.")


def _not_for(tower: CheckedTower, path: ExecutionPath, seeing: Seeing) -> str | None:
    modality = tower.modality
    schemes = tower.release.plan.components[modality.component].schemes.values()
    if held := {each.name for each in schemes} & path.refused:
        return f"it holds {', '.join(sorted(held))}, and {path.why_refused}"
    spec = modality.spec(tower.release)
    if isinstance(spec, VisionSpec) and work_of(spec, tower.encoder.soft_tokens) > seeing.most_work():
        return "a picture of this tower takes what computes here many minutes"
    return None


def _see(
    tower: CheckedTower, path: ExecutionPath, seeing: Seeing, picture: PreparedImage
) -> TowerRun | None:
    scratch = tower.scratch / f"seeing-{path.name}"
    scratch.mkdir()
    order = SeeingOrder(tower.release.directory, tower.encoder, (picture,), scratch, path.seconds)
    try:
        with tower.job.stopwatch.step(path.title):
            answer = seeing.run(order)
    except (RuntimeUnavailable, BeyondAdapter) as error:
        _say(tower, path, error)
        return None
    except (ArtifactError, EncoderError, ExecutionFailed) as error:
        _say(tower, path, error)
        tower.gate(count_gate(tower.kind, tower.path, path.title, FAILURES, 1, "failures"))
        return None
    finally:
        shutil.rmtree(scratch, ignore_errors=True)  # a killed process may still be letting go of it
    return _judged(tower, path, seeing, answer)


def _judged(tower: CheckedTower, path: ExecutionPath, seeing: Seeing, answer: SeeingAnswer) -> TowerRun:
    expected, subject = tower.reference.rows[QUANTISED][0], f"{path.title}: rows"
    apart, left = rows_apart(expected, answer.rows[0]), len(answer.left_over)
    limit = RowsLimit(seeing.relative, seeing.cosine)
    for gate in rows_gates(tower.kind, tower.path, subject, [apart], limit):
        tower.gate(gate)
    tower.gate(count_gate(tower.kind, tower.path, subject, LEFT_OVER, left, "operations"))
    sample = tower.reference.samples.tried[0]
    seen = SampleRun(
        sample=sample.name,
        soft_tokens=sample.prepared.soft_tokens,
        largest=apart.largest,
        relative=apart.relative,
        cosine=apart.cosine,
        seconds=None,
        answer=None,
    )
    return TowerRun(tower.path, f"{path.title}, {answer.device}", (seen,))
