"""Execution paths of an honest artifact: those that agree, stray, crash, or are not there.

The paths are named stand-ins that answer with the eager session's own logits, or with something else.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from exporter.formats.execution_path import (
    DECODED,
    ExecutionPath,
    PathAnswer,
    PathOrder,
    PathReference,
    left_out,
)
from exporter.validation.path_check import LEFT_OVER
from exporter.validation.report import Gate, PathExecution, PathFailure, PathRun, ValidationReport
from exporter.validation.verdict import Failed, Passed, Skipped
from exporter.views.path_wording import path_sentences
from runtimes.errors import ArtifactError, BeyondAdapter, ExecutionFailed, RuntimeUnavailable, SessionError
from tests.fakes import EagerSession, TwinlessLowering
from tests.tiny import WINDOW
from tests.unit.exporter.validation.whole_validations import TOKENS, Quantised, quantised, release, request

__all__ = ["quantised", "release"]  # fixtures


def honest(quantised: Quantised) -> Callable[[PathOrder], PathAnswer]:
    spec = quantised.checkpoint.components["text"].spec

    def run(order: PathOrder) -> PathAnswer:
        (order.scratch / "shaders").write_bytes(b"0" * 100)
        with EagerSession.open(order.directory / order.artifact.path, order.artifact, spec) as session:
            session.prefill(order.tokens[: order.prefilled])
            logits = np.stack([session.decode(int(token)) for token in order.tokens[order.prefilled :]])
        return PathAnswer(logits, "toy", "1", "an adapter", "fp32", (), ("It was warm.",))

    return run


def a_path(
    run: Callable[[PathOrder], PathAnswer], reference: PathReference = "float twin"
) -> ExecutionPath:
    return ExecutionPath(
        "toy-gpu", "Toy on the GPU", lambda: None, run, reference, 1e-6, 60, "no phone's GPU took part"
    )


def report_of(release: Path, quantised: Quantised, *paths: ExecutionPath) -> ValidationReport:
    return request(release, quantised).of_release(paths=lambda _: paths).report()


def path_gates(report: ValidationReport) -> dict[str, Gate]:
    return {gate.statistic: gate for gate in report.gates if gate.kind == "path"}


@pytest.mark.parametrize("reference", ["float twin", "CPU"])
def test_a_path_that_agrees_passes_its_gates(
    reference: PathReference, release: Path, quantised: Quantised
) -> None:
    report = report_of(release, quantised, a_path(honest(quantised), reference))
    assert set(path_gates(report)) == {"non-finite logits", "mean KL", LEFT_OVER}
    assert all(isinstance(gate.verdict, Passed) for gate in path_gates(report).values())
    (found,) = report.paths
    assert isinstance(found.result, PathExecution)
    assert (found.result.device, found.result.left_over) == ("an adapter", ())
    (compared,) = [each for each in report.comparisons if each.kind == "path"]
    assert compared.reference == reference
    assert compared.statistics.positions == found.result.positions == min(DECODED, (TOKENS - 1) // 2)
    assert report.outcome == "passed"
    assert not any("Not executed" in each for each in report.not_checked)
    assert list((release.parent / "scratch").iterdir()) == [], "what the path wrote was deleted"


def test_prefill_goes_past_the_window(release: Path, quantised: Quantised) -> None:
    seen: list[PathOrder] = []

    def keep(order: PathOrder) -> PathAnswer:
        seen.append(order)
        return honest(quantised)(order)

    report_of(release, quantised, a_path(keep))
    (order,) = seen
    assert order.prefilled > WINDOW
    assert len(order.tokens) == order.prefilled + order.decoded
    assert order.seconds == 60


def test_a_path_that_strays_fails(release: Path, quantised: Quantised) -> None:
    def wrong(order: PathOrder) -> PathAnswer:
        answer = honest(quantised)(order)
        return replace(answer, logits=answer.logits[:, ::-1].copy())

    report = report_of(release, quantised, a_path(wrong))
    assert isinstance(path_gates(report)["mean KL"].verdict, Failed)
    assert report.exit_code == 1


def test_logits_that_are_not_numbers_fail_both_their_gates(release: Path, quantised: Quantised) -> None:
    def overflowing(order: PathOrder) -> PathAnswer:
        answer = honest(quantised)(order)
        return replace(answer, logits=np.full_like(answer.logits, np.nan))

    gates = path_gates(report_of(release, quantised, a_path(overflowing)))
    assert isinstance(gates["mean KL"].verdict, Failed)
    assert isinstance(gates["non-finite logits"].verdict, Failed)


def test_operations_left_over_fail_and_are_named(release: Path, quantised: Quantised) -> None:
    def partly(order: PathOrder) -> PathAnswer:
        return replace(honest(quantised)(order), left_over=("EMBEDDING_LOOKUP",))

    report = report_of(release, quantised, a_path(partly))
    assert path_gates(report)[LEFT_OVER].verdict == Failed(1, 0, "operations")


def test_a_path_without_an_accelerator_has_no_gate_on_operations(
    release: Path, quantised: Quantised
) -> None:
    def emulated(order: PathOrder) -> PathAnswer:
        return replace(honest(quantised)(order), left_over=None)

    assert LEFT_OVER not in path_gates(report_of(release, quantised, a_path(emulated)))


@pytest.mark.parametrize("error", [ExecutionFailed, ArtifactError, SessionError])
def test_a_path_that_is_here_and_does_not_run_fails(
    error: type[Exception], release: Path, quantised: Quantised
) -> None:
    def crash(order: PathOrder) -> PathAnswer:
        raise error("ended by SIGSEGV; it printed last: compiling")

    report = report_of(release, quantised, a_path(crash))
    assert path_gates(report)["failures to run"].verdict == Failed(1, 0, "failures")
    assert report.paths[0].result == PathFailure("ended by SIGSEGV; it printed last: compiling")
    assert any("it printed last: compiling" in each for each in report.not_checked)
    assert report.exit_code == 1


def test_too_few_logits_are_a_failure(release: Path, quantised: Quantised) -> None:
    def cut(order: PathOrder) -> PathAnswer:
        answer = honest(quantised)(order)
        return replace(answer, logits=answer.logits[:-1])

    report = report_of(release, quantised, a_path(cut))
    assert isinstance(path_gates(report)["failures to run"].verdict, Failed)


@pytest.mark.parametrize("error", [RuntimeUnavailable, BeyondAdapter])
def test_what_the_machine_cannot_do_is_no_gate_and_is_said_first(
    error: type[Exception], release: Path, quantised: Quantised
) -> None:
    def small(order: PathOrder) -> PathAnswer:
        raise error("the adapter takes no buffer of 167,772,160 bytes")

    not_executed(report_of(release, quantised, a_path(small)), "the adapter takes no buffer")


def test_a_path_that_is_not_here_is_no_gate_and_is_said_first(release: Path, quantised: Quantised) -> None:
    def never(order: PathOrder) -> PathAnswer:
        raise AssertionError("it is not there")

    path = replace(a_path(never), missing=lambda: "no Vulkan driver is installed")
    not_executed(report_of(release, quantised, path), "no Vulkan driver is installed")
    not_executed(report_of(release, quantised, left_out(a_path(never), "nobody asked")), "nobody asked")


def test_an_artifact_that_is_for_other_processors_is_not_executed(
    release: Path, quantised: Quantised
) -> None:
    def never(order: PathOrder) -> PathAnswer:
        raise AssertionError("its process would crash")

    held = frozenset({"int8-channel"})
    path = replace(a_path(never), refused=held, why_refused="rows end its process")
    reason = "it holds int8-channel, and rows end its process: it is for other processors"
    not_executed(report_of(release, quantised, path), reason)


def not_executed(report: ValidationReport, reason: str) -> None:
    (run,) = report.paths
    assert isinstance(run, PathRun)
    assert isinstance(run.result, Skipped)
    assert path_gates(report) == {}
    assert report.outcome == "passed", "a machine without it can publish"
    (sentence,) = path_sentences(report)
    assert reason in sentence
    assert (
        f"Not executed: Toy on the GPU ({run.artifact}). The reasons stand with the execution paths."
        in report.not_checked
    )
    assert sentence.endswith("no phone's GPU took part.")


def test_without_a_twin_nothing_is_executed_against_it(release: Path, quantised: Quantised) -> None:
    def never(order: PathOrder) -> PathAnswer:
        raise AssertionError("there is nothing to compare with")

    asked = request(release, quantised, lowering=TwinlessLowering())
    report = asked.of_release(paths=lambda _: (a_path(never),)).report()
    assert isinstance(report.paths[0].result, Skipped)
    assert path_gates(report) == {}
