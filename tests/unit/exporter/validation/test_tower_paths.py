"""Towers on execution paths: judged where one executes them, named where not. A path that plays a GPU
stands in for all of them.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import pytest

from exporter.formats.execution_path import (
    ExecutionPath,
    PathAnswer,
    PathOrder,
    Seeing,
    SeeingAnswer,
    SeeingOrder,
)
from exporter.validation.findings import Findings
from exporter.validation.path_check import LEFT_OVER
from exporter.validation.rows_apart import COSINE, RELATIVE
from exporter.validation.verdict import Failed, Passed
from runtimes.errors import BeyondAdapter, ExecutionFailed
from tests.seeing import EagerTower
from tests.seeing_models import Sensing, seeing
from tests.sensing import EagerMultimodalSession, SensingLowering, eager_rows_driver

KIND = "Gemma 4 12B"
Run = Callable[[SeeingOrder], SeeingAnswer]


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Sensing:
    return seeing(tmp_path_factory.mktemp("seeing"), KIND)


def never(order: PathOrder) -> PathAnswer:
    raise AssertionError("text is another check's")


def untried(order: SeeingOrder) -> SeeingAnswer:
    raise AssertionError("it is not for it")


def path_of(
    seeing_run: Run | None, missing: str | None = None, refused: str = "", work: float = 1e9
) -> ExecutionPath:
    return ExecutionPath(
        name="gpu",
        title="a GPU",
        missing=lambda: missing,
        run=never,
        reference="CPU",
        mean_kl_limit=1.0,
        seconds=1.0,
        says_nothing_of="nothing",
        refused=frozenset({refused}),
        why_refused="it takes none",
        seeing=None if seeing_run is None else Seeing(seeing_run, 1e-3, 0.999, lambda: work),
    )


def eager(model: Sensing, factor: float = 1.0, *left_over: str) -> Run:
    """What a tower in plain torch makes, times a factor."""
    spec = model.checkpoint.components["vision"].spec

    def run(order: SeeingOrder) -> SeeingAnswer:
        tower = EagerTower.open(order.directory / order.encoder.path, spec)
        (picture,) = order.pictures
        return SeeingAnswer((tower.rows(picture) * factor,), "a card", left_over)

    return run


def found(model: Sensing, path: ExecutionPath, name: str) -> Findings:
    parts = model.checkpoint.components
    vision = parts["vision"].spec
    driver = eager_rows_driver(
        parts["text"].spec,
        vision.tokens.blocks,
        lambda archive: EagerTower.open(archive, vision),
        EagerMultimodalSession,
    )
    release = replace(
        model.release(SensingLowering(), name), rows_drivers=lambda _: (driver,), paths=lambda _: (path,)
    )
    return model.findings(release, SensingLowering())


def verdicts(findings: Findings) -> dict[str, bool]:
    """Whether each gate of the path holds, by its statistic."""
    of_path = [gate for gate in findings.gates if gate.subject.startswith("a GPU")]
    assert all(isinstance(gate.verdict, (Passed, Failed)) for gate in of_path)
    return {gate.statistic: isinstance(gate.verdict, Passed) for gate in of_path}


def said(findings: Findings) -> str:
    return " ".join(each for each in findings.not_checked if "a GPU" in each)


def test_a_tower_on_a_path_is_held_against_transformers_rows(model: Sensing) -> None:
    findings = found(model, path_of(eager(model)), "right")
    assert verdicts(findings) == {RELATIVE: True, COSINE: True, LEFT_OVER: True}
    assert "its decoder none" in said(findings)
    images = findings.towers["images"]
    (run,) = [each for each in images.runs if each.subject == "a GPU, a card"]
    (picture,) = run.samples
    assert picture.relative < 1e-3


def test_rows_that_stray_and_operations_left_over_fail(model: Sensing) -> None:
    findings = found(model, path_of(eager(model, 1.01, "GATHER (no)")), "wrong")
    assert verdicts(findings) == {RELATIVE: False, COSINE: True, LEFT_OVER: False}


def test_a_path_that_crashes_fails_and_one_without_room_is_named(model: Sensing) -> None:
    def crashes(order: SeeingOrder) -> SeeingAnswer:
        raise ExecutionFailed("it ended by SIGABRT")

    def has_no_room(order: SeeingOrder) -> SeeingAnswer:
        raise BeyondAdapter("no buffer of that size")

    findings = found(model, path_of(crashes), "crash")
    assert list(verdicts(findings).values()) == [False]
    assert "SIGABRT" in said(findings)
    findings = found(model, path_of(has_no_room), "room")
    assert verdicts(findings) == {}
    assert "no buffer of that size" in said(findings)


@pytest.mark.parametrize(
    ("path", "words"),
    [
        (path_of(None), "pictures were not given to it, only text"),
        (path_of(None, missing="no card"), ""),
        (path_of(untried, work=10.0), "takes what computes here many minutes"),
        (path_of(untried, refused="int8-channel"), "it holds int8-channel, and it takes none"),
    ],
)
def test_what_is_not_tried_is_named(path: ExecutionPath, words: str, model: Sensing) -> None:
    findings = found(model, path, words[:9] or "absent")
    assert verdicts(findings) == {}
    assert words in said(findings)
    assert bool(said(findings)) == bool(words)
