"""Logits that say nothing are counted, whatever agrees with them."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from exporter.reference.logits_file import LogitsFile
from exporter.validation.degenerate import LOOKED_AT, judge_artifact, judge_reference, say_nothing
from exporter.validation.findings import Findings
from exporter.validation.verdict import Failed, Passed
from tests.jobs import validated
from tests.tiny import RandomSource, tiny_gemma3
from tests.unit.exporter.validation.whole_validations import Quantised, gates, quantised_model, request

LIVELY = np.random.default_rng(0).standard_normal((20, 64)).astype(np.float32)


def changed(value: float) -> NDArray[np.float32]:
    logits = LIVELY.copy()
    logits[7] = value
    return logits


def test_logits_of_a_model_say_something() -> None:
    assert say_nothing(LIVELY) == 0


@pytest.mark.parametrize("value", [0.0, 3.5, np.nan, np.inf])
def test_a_row_that_is_constant_or_no_number_says_nothing(value: float) -> None:
    with np.errstate(invalid="ignore"):
        assert say_nothing(changed(value)) >= 1


def test_rows_that_repeat_the_one_before_say_nothing() -> None:
    assert say_nothing(np.repeat(LIVELY[:1], 20, axis=0)) == 19


def test_rounding_is_no_difference() -> None:
    noise = np.random.default_rng(1).standard_normal((20, 64)).astype(np.float32)
    assert say_nothing(LIVELY[:1] + np.float32(1e-6) * noise) == 19


@pytest.mark.parametrize("logits", [np.zeros((40, 64), np.float32), np.repeat(LIVELY[:1], 40, axis=0)])
def test_a_reference_that_says_nothing_fails_in_a_clear_sentence(
    logits: NDArray[np.float32], tmp_path: Path
) -> None:
    file = LogitsFile.create(tmp_path / "logits", 40, 64)
    file.write_rows(0, logits)
    findings = Findings()
    judge_reference(findings, "transformers, original checkpoint", file)
    (gate,) = findings.gates
    assert isinstance(gate.verdict, Failed)
    assert gate.verdict.measured >= LOOKED_AT - 1
    (sentence,) = findings.not_checked
    assert "is no trained model, and agreeing with it says nothing" in sentence


def test_an_artifact_that_says_nothing_fails() -> None:
    findings = Findings()
    judge_artifact(findings, "model.tflite", "LiteRT", LIVELY)
    judge_artifact(findings, "model.tflite", "LiteRT", np.zeros((4, 64), np.float32))
    assert [type(gate.verdict) for gate in findings.gates] == [Passed, Failed]


@dataclass(frozen=True)
class SourceOfZeros(RandomSource):
    """A checkpoint all of whose weights are 0, as an interrupted download of sparse files leaves it."""

    def __post_init__(self) -> None:
        super().__post_init__()
        for values in self.weights.values():
            values[...] = 0


def test_a_checkpoint_of_zeros_fails_however_well_everything_agrees(
    tmp_path: Path, tmp_path_factory: pytest.TempPathFactory
) -> None:
    zeros = SourceOfZeros(tiny_gemma3())
    quantised: Quantised = quantised_model(zeros, tmp_path_factory.mktemp("zeros"))
    for name in ("release", "scratch"):
        (tmp_path / name).mkdir()
    asked = request(tmp_path / "release", quantised)
    report = validated(asked.job, asked.release)
    assert report.exit_code == 1
    failed = [gate for gate in gates(report, "degenerate") if isinstance(gate.verdict, Failed)]
    assert len(failed) == 3, "both references and the artifact"
    assert not any(isinstance(gate.verdict, Failed) for gate in gates(report, "lowering"))
    assert any("is no trained model" in sentence for sentence in report.not_checked)
