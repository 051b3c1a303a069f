"""How executed subjects changed from directory to directory: which is held against which."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest

from exporter.evaluation.change import changes, relative
from exporter.evaluation.compared import SubjectFigures
from exporter.evaluation.figures import Figures, StandardErrors
from exporter.evaluation.statistics import Statistics
from runtimes.formats import Format
from tests.golden.parts import statistics


def subject(
    directory: str, found: Statistics, format: Format | None = None, path: str | None = None
) -> SubjectFigures:
    return SubjectFigures(
        name=directory if path is None else f"{directory}/{path}",
        directory=directory,
        path=path,
        format=format,
        kind="checkpoint" if path is None else "artifact",
        recipe=None,
        nbytes=1000,
        bits=8.0,
        overall=Figures(found, StandardErrors(0.0, 0.0, 0.0)),
        kinds={},
        domains=(),
    )


OLD, NEW = statistics(0.01, 0.95), statistics(0.02, 0.93)


def test_an_artifact_is_held_against_the_same_format_before() -> None:
    subjects = [
        subject("v1", OLD, "tflite", "model.tflite"),
        subject("v1", OLD, "onnx", "onnx/model.onnx"),
        subject("v2", NEW, "onnx", "other/model.onnx"),
        subject("v3", NEW, "coreml", "coreml/model.mlpackage"),
    ]
    subjects[2] = replace(subjects[2], nbytes=750)
    (change,) = changes(subjects)
    assert (change.name, change.before) == ("v2/other/model.onnx", "v1/onnx/model.onnx")
    assert change.nbytes == -0.25
    assert change.mean_kl == pytest.approx(1.0)
    assert change.top1 == pytest.approx(-0.02)


def test_checkpoints_are_held_against_checkpoints() -> None:
    subjects = [
        subject("a", OLD),
        subject("b", NEW),
        subject("v1", NEW, "onnx", "onnx/model.onnx"),
    ]
    assert [(each.name, each.before) for each in changes(subjects)] == [("b", "a")]


def test_nothing_is_no_share_of_nothing() -> None:
    assert relative(0, 1) is relative(None, 1) is relative(1, None) is None
    assert relative(2, 1) == -0.5
    assert math.isnan(relative(math.inf, 1) or 0)
