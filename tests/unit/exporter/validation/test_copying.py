"""The copy-and-extract gate on whole validations: honest artifacts pass, wrong ones lose tokens.

Context 512, byte tokens: facts 60 and 120 tokens back, both past the window of 16.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from exporter.formats.execution_path import ExecutionPath, PathAnswer, PathOrder
from exporter.lowering.interface import LoweringOrder
from exporter.planning.recipe import QualityLimit
from exporter.quantization.store.unpacked_weights import UnpackedWeights
from exporter.reference.copy_text import copying_text
from exporter.reference.leads import Decisions
from exporter.reference.streamed import reference_decisions
from exporter.reference.texts import Texts
from exporter.reference.weights import OriginalWeights
from exporter.validation.copying import (
    DECIDED,
    KEPT,
    LOST,
    NO_TOKEN,
    Copying,
    answers_of,
    chosen,
    judge_execution,
    judge_quantisation,
)
from exporter.validation.findings import Findings
from exporter.validation.path_copying import PathPace
from exporter.validation.report import Gate, PathExecution, ValidationReport
from exporter.validation.verdict import Failed, Passed
from runtimes.errors import ExecutionFailed, RuntimeUnavailable
from runtimes.session import Logits, PrefillLogits
from tests.fakes import FAKE_PREFILLS, ArchiveLowering, EagerSession, silent
from tests.tiny import WINDOW
from tests.tiny_releases import MADE_FROM
from tests.unit.exporter.validation.whole_validations import (
    Asked,
    Quantised,
    failed,
    quantised,
    release,
    request,
    skipped,
)

__all__ = ["quantised", "release"]  # fixtures

DISTANCES = (60, 120)
TOKENS = 400  # hold both
DIGITS = slice(6 + ord("0"), 6 + ord("9") + 1)  # their byte tokens


class DigitsRotated(EagerSession):
    """Says 1 where it means 0, and so on, in what it decodes."""

    def decode(self, token: int) -> NDArray[np.float32]:
        logits = super().decode(token)
        logits[DIGITS] = np.roll(logits[DIGITS], 1)
        return logits


class DamagedPastTheWindow(EagerSession):
    """Its caches hold something else for tokens further back than the window."""

    def decode(self, token: int) -> NDArray[np.float32]:
        for cache in self._state.caches.values():
            cache.values[:, :, cache.positions < self.position - WINDOW] = 3.0
        return super().decode(token)


class NotANumberAtLast(EagerSession):
    """Overflows from token 200 on, where it decodes."""

    def decode(self, token: int) -> NDArray[np.float32]:
        logits = super().decode(token)
        if self.position > 200:
            logits[7] = np.nan
        return logits


def asked(
    release: Path,
    quantised: Quantised,
    tokens: int = TOKENS,
) -> Asked:
    found = request(release, quantised, context=512)
    return found.of_job(distances=DISTANCES, token_limit=tokens)


def copying(report: ValidationReport) -> dict[tuple[str | None, str], Gate]:
    return {(gate.artifact, gate.statistic): gate for gate in report.gates if gate.kind == "copying"}


@pytest.fixture(scope="module")
def known(quantised: Quantised) -> Copying:
    """The text and what transformers chooses in it."""
    text = copying_text(Texts.of(quantised.source), DISTANCES)
    original, unpacked = OriginalWeights(quantised.source), UnpackedWeights(quantised.checkpoint)
    return Copying(
        text,
        reference_decisions(original, text.tokens, text.positions, silent),
        reference_decisions(unpacked, text.tokens, text.positions, silent),
    )


def judged(
    quantised: Quantised, known: Copying, session: type[EagerSession], prefill: PrefillLogits = "all"
) -> Findings:
    """How an artifact opened by `session` answers, as every validation judges it."""
    directory = quantised.tokenizer
    order = LoweringOrder(quantised.checkpoint, 512, 8, prefill, directory, 2, (1,), None, None, MADE_FROM)
    (artifact,) = ArchiveLowering().lower(order, directory, silent)
    findings = Findings()
    with session.open(
        directory / artifact.path, artifact, quantised.checkpoint.components["text"].spec
    ) as it:
        found = answers_of(it, known.text, lambda done: None)
    judge_execution(findings, "model.npz", "toy", known, np.ones(len(found), bool), found)
    return findings


@pytest.mark.parametrize("prefill", FAKE_PREFILLS)
def test_an_honest_artifact_loses_nothing(
    prefill: PrefillLogits, quantised: Quantised, known: Copying
) -> None:
    findings = judged(quantised, known, EagerSession, prefill)
    assert [gate.verdict for gate in findings.gates] == [Passed(0, 0, "tokens")]
    assert [run.distance for run in findings.copying] == list(DISTANCES)
    assert sum(run.decided for run in findings.copying) >= 10, "the gate holds something"


@pytest.mark.parametrize("session", [DigitsRotated, DamagedPastTheWindow, NotANumberAtLast])
def test_an_artifact_that_errs_far_from_a_fact_fails(
    session: type[EagerSession], quantised: Quantised, known: Copying
) -> None:
    findings = judged(quantised, known, session)
    (gate,) = findings.gates
    assert isinstance(gate.verdict, Failed)
    assert gate.verdict.measured == sum(run.lost for run in findings.copying)


def test_where_nothing_is_decided_there_is_nothing_to_pass(quantised: Quantised, known: Copying) -> None:
    tied = Decisions(known.quantised.choices, np.zeros_like(known.quantised.leads))
    findings = judged(quantised, replace(known, quantised=tied), EagerSession)
    assert findings.gates == []
    assert "is decided about no answer" in findings.not_checked[0]


def test_a_validation_asks_every_artifact_and_holds_the_quantised_against_the_original(
    release: Path, quantised: Quantised
) -> None:
    report = asked(release, quantised).report()
    assert report.outcome == "passed", [each for each in report.gates if isinstance(each.verdict, Failed)]
    assert {statistic for _, statistic in copying(report)} == {LOST, KEPT}
    of_artifact, of_quantised = (
        [run.as_original for run in report.copying if (run.artifact is None) == quantised_itself]
        for quantised_itself in (False, True)
    )
    assert of_artifact == of_quantised
    assert len(of_artifact) == len(DISTANCES)


def test_a_recipe_that_forgets_more_than_it_may_fails(known: Copying) -> None:
    choices = known.original.choices.copy()
    decided = np.flatnonzero(known.original.leads >= DECIDED)
    choices[decided[:2]] += 1
    forgetful = replace(known, quantised=Decisions(choices, known.original.leads))
    share = 1 - 2 / len(decided)
    for limit, expected in ((share, Passed), (share + 0.01, Failed)):
        findings = Findings()
        judge_quantisation(findings, "tiny", forgetful, QualityLimit(10.0, limit, "for a test"))
        (gate,) = findings.gates
        assert (gate.artifact, gate.statistic, type(gate.verdict)) == (None, KEPT, expected)
        assert sum(run.lost for run in findings.copying) == 2


def test_what_does_not_fit_is_said_and_neither_passed_nor_failed(
    release: Path, quantised: Quantised
) -> None:
    text = copying_text(Texts.of(quantised.source), DISTANCES)
    near = max(each.end for each in text.answers if each.distance == DISTANCES[0])
    report = asked(release, quantised, tokens=near - 1).report()
    assert report.copying == ()
    assert not copying(report)
    (said,) = (each for each in report.not_checked if each.startswith("Facts 60 and 120 tokens back"))
    assert said.endswith(f"not asked for: --validation-tokens {near - 1} does not reach so far.")
    assert report.outcome == "passed"


def test_an_artifact_that_cannot_be_run_is_not_passed(release: Path, quantised: Quantised) -> None:
    def absent(directory: Path, artifact: object) -> EagerSession:
        raise RuntimeUnavailable("eager torch is not installed")

    subject = asked(release, quantised)
    (driver,) = subject.release.drivers("onnx")
    report = subject.of_release(drivers=lambda _: (replace(driver, open=absent),)).report()
    assert skipped(report)["copying"] == "eager torch is not installed"
    assert "copying" not in failed(report)


def test_logits_that_are_not_numbers_choose_nothing() -> None:
    assert chosen(np.array([1.0, 3.0, 2.0], np.float32)) == 1
    assert chosen(np.array([1.0, 3.0, np.nan], np.float32)) == NO_TOKEN
    assert chosen(np.array([1.0, np.inf, 2.0], np.float32)) == NO_TOKEN


# On execution paths


def path_of(
    quantised: Quantised,
    orders: list[PathOrder],
    change: Callable[[Logits], Logits] = lambda logits: logits,
) -> ExecutionPath:
    """One that computes as the eager session does, and changes what is asked for from far back."""
    spec = quantised.checkpoint.components["text"].spec

    def run(order: PathOrder) -> PathAnswer:
        orders.append(order)
        with EagerSession.open(order.directory / order.artifact.path, order.artifact, spec) as session:
            session.prefill(order.tokens[: order.prefilled])
            logits = np.stack([session.decode(int(token)) for token in order.tokens[order.prefilled :]])
        logits = logits if len(orders) == 1 else change(logits)
        return PathAnswer(logits, "toy", "1", "an adapter", "fp16", (), ())

    return ExecutionPath(
        "toy-gpu", "Toy on the GPU", lambda: None, run, "float twin", 1e-6, 60, "no phone's GPU took part"
    )


def report_of(release: Path, quantised: Quantised, path: ExecutionPath) -> ValidationReport:
    return asked(release, quantised).of_release(paths=lambda _: (path,)).report()


def of_path(report: ValidationReport) -> list[Gate]:
    return [gate for gate in report.gates if (gate.kind, gate.subject) == ("copying", "Toy on the GPU")]


def test_a_path_is_asked_from_as_far_as_its_time_allows(release: Path, quantised: Quantised) -> None:
    orders: list[PathOrder] = []
    report = report_of(release, quantised, path_of(quantised, orders))
    assert [gate.verdict for gate in of_path(report)] == [Passed(0, 0, "tokens")]
    _, order = orders
    assert order.prefilled > DISTANCES[-1]
    assert len(order.tokens) < TOKENS
    assert [run.distance for run in report.copying if run.subject == "Toy on the GPU"] == [DISTANCES[-1]]


def test_digits_corrupted_on_a_path_fail_it_there_alone(release: Path, quantised: Quantised) -> None:
    def half_corrupted(logits: Logits) -> Logits:
        return np.roll(logits, 1, axis=-1)

    report = report_of(release, quantised, path_of(quantised, [], half_corrupted))
    assert [type(gate.verdict) for gate in of_path(report)] == [Failed]
    assert failed(report) == {"copying"}, "its logits on the evaluation text are right"


def test_a_path_too_slow_for_the_furthest_is_asked_from_nearer_and_that_is_said(
    release: Path, quantised: Quantised
) -> None:
    orders: list[PathOrder] = []
    text = copying_text(Texts.of(quantised.source), DISTANCES)
    first, second = text.stretches()
    path = replace(path_of(quantised, orders), most_prefilled=second.first - 1)
    report = report_of(release, quantised, path)
    assert orders[1].prefilled == first.first
    said = [each for each in report.not_checked if "Toy on the GPU: facts 120 tokens back" in each]
    assert said
    assert said[0].endswith("those 60 tokens back were.")


def test_a_path_too_slow_for_any_is_not_asked_and_that_is_said(release: Path, quantised: Quantised) -> None:
    orders: list[PathOrder] = []
    report = report_of(release, quantised, replace(path_of(quantised, orders), copying_seconds=0.0))
    assert not of_path(report)
    assert len(orders) == 1
    assert any("facts 60 tokens back and further" in each for each in report.not_checked)
    assert any("0 are allowed); none were." in each for each in report.not_checked)


def test_a_path_that_stops_answering_fails(release: Path, quantised: Quantised) -> None:
    def crash(logits: Logits) -> Logits:
        raise ExecutionFailed("ended by SIGSEGV")

    report = report_of(release, quantised, path_of(quantised, [], crash))
    assert "path" in failed(report)
    assert not isinstance(report.paths[0].result, PathExecution)


def test_a_pace_expects_no_less_than_what_was_taken() -> None:
    assert PathPace(100, 50.0).expected(300) == 150.0
    assert PathPace(100, 50.0).expected(20) == 50.0
