"""An image tower on every execution path that is here and takes towers: its rows against transformers'.

One picture each: a software GPU takes long. What is not tried is said, and so is that no prompt with a
picture was. Not about what a path is (`exporter.formats.execution_path`), nor about text (`path_check`).
"""

from __future__ import annotations

import shutil

from exporter.formats.execution_path import ExecutionPath, Seeing, SeeingAnswer, SeeingOrder
from exporter.formats.image_driver import RowsLimit
from exporter.validation.baselines import QUANTISED
from exporter.validation.gates import count_gate
from exporter.validation.image_pictures import work_of
from exporter.validation.image_rows import IMAGES, rows_apart, rows_gates
from exporter.validation.path_check import LEFT_OVER
from exporter.validation.report import ImageRun, PictureRun
from exporter.validation.tower_under_test import TowerUnderTest
from runtimes.errors import (
    ArtifactError,
    BeyondAdapter,
    EncoderError,
    ExecutionFailed,
    RuntimeUnavailable,
)

FAILURES = "failures to run"


def see_on_paths(tower: TowerUnderTest) -> list[ImageRun]:
    """Gates and remarks go to the findings; what was executed comes back. A path that is not here is put
    down by the check of the text."""
    found = []
    for path in tower.release.paths(tower.encoder.format):
        if path.missing() is not None:
            continue
        if path.seeing is None:
            _say(tower, path, "pictures were not given to it, only text")
        elif (why := _not_for(tower, path, path.seeing)) is not None:
            _say(tower, path, f"its image tower was not tried: {why}")
        elif (rows := _see(tower, path, path.seeing)) is not None:
            found.append(rows)
            _say(tower, path, "its image tower was given a picture, and its decoder none")
    return found


def _say(tower: TowerUnderTest, path: ExecutionPath, why: object) -> None:
    tower.findings.not_checked.append(f"{tower.path}, {path.title}: {why}.")


def _not_for(tower: TowerUnderTest, path: ExecutionPath, seeing: Seeing) -> str | None:
    schemes = tower.release.plan.components["vision"].schemes.values()
    if held := {each.name for each in schemes} & path.refused:
        return f"it holds {', '.join(sorted(held))}, and {path.why_refused}"
    spec = tower.release.checkpoint.components["vision"].spec
    if work_of(spec, tower.encoder.soft_tokens) > seeing.most_work():
        return "a picture of this tower takes what computes here many minutes"
    return None


def _see(tower: TowerUnderTest, path: ExecutionPath, seeing: Seeing) -> ImageRun | None:
    scratch = tower.scratch / f"seeing-{path.name}"
    scratch.mkdir()
    picture = tower.reference.pictures[0]
    order = SeeingOrder(tower.release.directory, tower.encoder, (picture.prepared,), scratch, path.seconds)
    try:
        with tower.job.stopwatch.step(path.title):
            answer = seeing.run(order)
    except (RuntimeUnavailable, BeyondAdapter) as error:
        _say(tower, path, error)
        return None
    except (ArtifactError, EncoderError, ExecutionFailed) as error:
        _say(tower, path, error)
        tower.gate(count_gate(IMAGES, tower.path, path.title, FAILURES, 1, "failures"))
        return None
    finally:
        shutil.rmtree(scratch, ignore_errors=True)  # a killed process may still be letting go of it
    return _judged(tower, path, seeing, answer)


def _judged(tower: TowerUnderTest, path: ExecutionPath, seeing: Seeing, answer: SeeingAnswer) -> ImageRun:
    expected, subject = tower.reference.rows[QUANTISED][0], f"{path.title}: rows"
    apart, left = rows_apart(expected, answer.rows[0]), len(answer.left_over)
    for gate in rows_gates(tower.path, subject, [apart], RowsLimit(seeing.relative, seeing.cosine)):
        tower.gate(gate)
    tower.gate(count_gate(IMAGES, tower.path, subject, LEFT_OVER, left, "operations"))
    picture = tower.reference.pictures[0]
    seen = PictureRun(
        picture=picture.name,
        soft_tokens=picture.prepared.soft_tokens,
        largest=apart.largest,
        relative=apart.relative,
        cosine=apart.cosine,
        seconds=None,
        answer=None,
    )
    return ImageRun(tower.path, f"{path.title}, {answer.device}", (seen,))
