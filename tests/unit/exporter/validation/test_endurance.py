"""Many decode steps in a row: drift and growing memory fail, short runs are said to be short."""

from __future__ import annotations

from collections.abc import Callable, Generator, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from exporter.evaluation.statistics import Agreement
from exporter.lowering.interface import Segment
from exporter.validation.endurance import (
    DRIFT,
    GROWTH,
    MOST_GROWTH,
    SETTLED,
    WatchedMemory,
    judge_endurance,
    judge_memory,
)
from exporter.validation.findings import Findings
from exporter.validation.routes import Route
from exporter.validation.verdict import Failed, Passed
from runtimes.session import Logits, SessionFacts, Tokens
from tests.fakes import EagerSession, SelfTwinLowering
from tests.unit.exporter.validation.whole_validations import Quantised, gates, quantised, release, request

__all__ = ["quantised", "release"]  # fixtures

FLOOR = 1e-6


def judged(kl: NDArray[np.float64], *routes: Route) -> Findings:
    findings, zeros = Findings(), np.zeros(len(kl))
    agreement = Agreement(kl, zeros == 0, zeros, zeros)
    judge_endurance(findings, "model.tflite", "LiteRT", routes, agreement, FLOOR)
    return findings


def decoded(steps: int) -> Route:
    return Route((Segment("decode", steps),), 8)


def test_what_stays_as_good_as_it_began_passes() -> None:
    kl = np.full(1200, 1e-3)
    kl[900:] = 3e-3
    (gate,) = judged(kl, decoded(1200)).gates
    assert isinstance(gate.verdict, Passed)
    assert gate.verdict.measured == pytest.approx(3.0)
    assert gate.subject == "LiteRT: 1,200 decode steps"


def test_what_gets_worse_fails() -> None:
    kl = np.linspace(0, 1, 1200) ** 4
    assert isinstance(judged(kl, decoded(1200)).gates[0].verdict, Failed)


def test_a_last_quarter_that_is_no_number_fails() -> None:
    kl = np.full(1200, 1e-3)
    kl[-1] = np.nan
    assert isinstance(judged(kl, decoded(1200)).gates[0].verdict, Failed)


def test_growing_rounding_is_no_drift() -> None:
    kl = np.full(1200, 1e-12)
    kl[900:] = 1e-9
    assert isinstance(judged(kl, decoded(1200)).gates[0].verdict, Passed)


def test_fewer_steps_are_judged_and_said_to_be_fewer() -> None:
    findings = judged(np.full(600, 1e-3), decoded(600))
    assert len(findings.gates) == 1
    assert findings.not_checked == [
        "model.tflite, LiteRT: 600 decode steps in a row were run, and not 1,000."
    ]


def test_too_few_steps_and_a_route_of_prefill_are_not_judged() -> None:
    turns = Route((Segment("prefill", 400), Segment("decode", 128)), 8)
    assert judged(np.full(64, 1e-3), decoded(64)).gates == []
    findings = judged(np.full(528, 1e-3), Route((Segment("prefill", 528),), 8), turns)
    assert findings.gates == []
    assert "128 decode steps in a row" in findings.not_checked[0]


@pytest.mark.parametrize(("extra", "passed"), [(0, True), (1, False)])
def test_memory_beyond_the_cache_and_some_room_fails(extra: int, passed: bool) -> None:
    findings = Findings()
    judge_memory(findings, "model.tflite", "LiteRT", MOST_GROWTH + 50 + extra, expected=50)
    (gate,) = findings.gates
    assert (gate.statistic, isinstance(gate.verdict, Passed)) == (GROWTH, passed)


def test_where_the_system_says_nothing_of_memory_no_growth_is_known() -> None:
    watched = WatchedMemory(NeverRun(), until=300, read=lambda: None)
    assert list(watched.run((), np.zeros(0, np.int32), lambda done: None)) == []
    assert watched.growth is None, "neither position was reached"
    assert replace(watched, found={SETTLED: None, 300: 9}).growth is None
    assert replace(watched, found={SETTLED: 5, 300: 9}).growth == 4
    assert replace(watched, until=200, found={SETTLED: 5, 200: 9}).growth is None, "too few steps"


class NeverRun:
    """Satisfies `RouteRunner` with nothing to give."""

    @property
    def facts(self) -> SessionFacts:
        raise NotImplementedError

    def run(
        self, segments: Sequence[Segment], tokens: Tokens, tell: Callable[[int], None]
    ) -> Generator[tuple[int, Logits]]:
        yield from ()


class TiringSession(EagerSession):
    """Keeps a MiB a step, and strays further with every one."""

    kept: list[NDArray[np.float32]]

    def _run(self, tokens: Tokens) -> Logits:
        self.kept = [*getattr(self, "kept", []), np.ones(1 << 18, np.float32)]
        before = self.position
        return super()._run(tokens) * np.float32(1 + before / 1000)


def test_a_leak_and_a_drift_fail_over_whole_texts(release: Path, quantised: Quantised) -> None:
    asked = request(
        release,
        quantised,
        lowering=SelfTwinLowering(),  # a twin run by this session would tire as much
        session=TiringSession,
        prefill="none",
        context=512,
    )
    report = asked.of_job(token_limit=513).report()
    failed = {gate.statistic for gate in gates(report, "endurance") if isinstance(gate.verdict, Failed)}
    assert failed == {DRIFT, GROWTH}
