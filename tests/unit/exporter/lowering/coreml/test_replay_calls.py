from __future__ import annotations

import importlib.util
import json
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from exporter.lowering.coreml.replay_calls import ReplayCall, ReplayTolerances, write_replay_calls
from runtimes.mil.execution import Execution
from runtimes.mil.session import MilSession
from tests.parity.coreml_packages import TOKENS, lowered

SCRIPT = Path(__file__).parents[5] / "samples" / "replay_on_mac.py"


class EvaluatedModel:
    """Stands in for coremltools' MLModel: the same two calls, answered by the MIL evaluator."""

    def __init__(self, package: Path) -> None:
        self._package = package

    def make_state(self) -> Execution:
        return Execution.open(self._package, "fp16")

    def predict(self, inputs: dict[str, NDArray[Any]], state: Execution) -> dict[str, NDArray[Any]]:
        return state.run({name: np.asarray(value) for name, value in inputs.items()})


@pytest.fixture(scope="module")
def replay_on_mac() -> ModuleType:
    spec = importlib.util.spec_from_file_location("replay_on_mac", SCRIPT)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture
def vectors(tmp_path: Path) -> dict[str, Any]:
    """Vectors of the tiny Gemma 3, measured in fp32: two prefills and two single tokens."""
    calls = []
    with MilSession.open(lowered("Gemma 3").package) as session:
        for start, stop in ((0, 16), (16, 40), (40, 41), (41, 42)):
            tokens = TOKENS[start:stop]
            calls.append(ReplayCall(tokens, session.prefill(tokens)))
    path = tmp_path / "vectors.json"
    write_replay_calls(
        path, calls, model="model.mlpackage", arithmetic="fp32", tolerances=ReplayTolerances()
    )
    written: dict[str, Any] = json.loads(path.read_text())
    return written


def test_a_call_keeps_its_last_position_and_its_largest_logits(vectors: dict[str, Any]) -> None:
    first, *_, last = vectors["calls"]
    assert [expected["position"] for expected in first["expected"]] == [0, 5, 10, 15]
    assert [expected["position"] for expected in last["expected"]] == [0]
    logits = [logit for _, logit in first["expected"][0]["top"]]
    assert len(logits) == 16
    assert logits == sorted(logits, reverse=True)
    assert first["expected"][0]["log_sum_exp"] > logits[0]


def test_the_replay_script_passes_the_package_the_vectors_are_of(
    vectors: dict[str, Any], replay_on_mac: ModuleType
) -> None:
    results = replay_on_mac.replay(EvaluatedModel(lowered("Gemma 3").package), vectors)
    divergences = [kl for kl, _ in results]
    assert len(results) == 4 + 4 + 1 + 1
    assert 0 < np.mean(divergences) <= vectors["tolerances"]["mean_kl"]
    assert all(same for _, same in results)


def test_the_replay_script_fails_another_package(
    vectors: dict[str, Any], replay_on_mac: ModuleType
) -> None:
    vectors["calls"][0]["tokens"][3] += 1
    results = replay_on_mac.replay(EvaluatedModel(lowered("Gemma 3").package), vectors)
    assert np.mean([kl for kl, _ in results]) > vectors["tolerances"]["mean_kl"]
