"""How fast a session is: which tokens it is given, how often, and less of them where it is slow."""

from __future__ import annotations

import json

import pytest

from exporter.running import speed
from exporter.running.bench import ArtifactSpeed, Bench, Machine
from exporter.running.speed import PaceRuns, Speed, SpeedOrder, measure_speed
from tests.scripted_session import ScriptedSession


def measured(session: ScriptedSession, order: SpeedOrder) -> tuple[Speed, list[int]]:
    told: list[int] = []
    return measure_speed(session, order, told.append), told


def test_every_run_is_a_figure_and_the_first_warms_up() -> None:
    found, told = measured(ScriptedSession(context=512), SpeedOrder(40, 8, runs=3, threads=2))
    assert (found.prefill.tokens, found.decode.tokens) == (40, 8)
    assert len(found.prefill.runs) == len(found.decode.runs) == 3
    assert told == [1, 2, 3, 4]
    assert min(found.prefill.runs + found.decode.runs) > 0


@pytest.mark.parametrize(("context", "prefilled", "decoded"), [(32, 24, 8), (8, 1, 7), (4, 1, 3)])
def test_a_short_context_is_filled_and_no_more(context: int, prefilled: int, decoded: int) -> None:
    session = ScriptedSession(context=context)
    found, _ = measured(session, SpeedOrder(512, 8, runs=1, threads=2))
    assert (found.prefill.tokens, found.decode.tokens) == (prefilled, decoded)
    assert session.position <= context


def test_what_would_take_too_long_is_given_fewer_tokens(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(speed, "SECONDS", 1e-9)
    found, _ = measured(ScriptedSession(context=512), SpeedOrder(400, 64, runs=2, threads=2))
    assert (found.prefill.tokens, found.decode.tokens) == (1, 1)


def test_spread_and_median_are_of_the_runs_that_are_kept() -> None:
    runs = PaceRuns(8, (3.0, 1.0, 10.0))
    assert (runs.lowest, runs.median, runs.highest) == (1.0, 3.0, 10.0)


def test_json_has_every_run_and_names_what_was_not_run() -> None:
    pace = Speed(PaceRuns(8, (3.0, 1.0, 10.0)), PaceRuns(2, (5.0,)))
    order = SpeedOrder(8, 2, 3, 2)
    rows = (
        ArtifactSpeed("onnx/model.onnx", "onnx", "ONNX Runtime 1", pace, None),
        ArtifactSpeed("model.tflite", "tflite", "", None, "ai-edge-litert is not installed"),
    )
    machine = Machine("Linux x86_64", "a CPU", 2, 0.5)
    plain = json.loads(Bench(1, "gemma", "int8", machine, order, rows, "no phone").to_json())
    assert plain["artifacts"][0]["speed"]["prefill"] == {
        "tokens": 8, "runs": [3.0, 1.0, 10.0], "median": 3.0, "lowest": 1.0, "highest": 10.0,
    }  # fmt: skip
    assert plain["artifacts"][1]["speed"] is None
    assert plain["artifacts"][1]["not_run"] == "ai-edge-litert is not installed"
    assert (plain["schema_version"], plain["machine"]["processor"]) == (1, "a CPU")
