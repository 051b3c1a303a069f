"""What runs on the emulated CPU, run here: an order served from a directory."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import runtimes.open
from runtimes.arm64.guest import Answer, Order, cpu_features, serve
from runtimes.asked_work import ANSWER, LOGITS, ORDER, TOKENS, FeedTokens
from runtimes.errors import ArtifactError
from runtimes.manifest import Artifact
from runtimes.opening import Opening
from runtimes.records import from_plain, to_plain
from runtimes.session import SessionFacts

ARTIFACT = Artifact("text", "onnx", "model.onnx", 64, 8, 16, "last")


class Counting:
    """A session whose logits are the position and the token, and that keeps how it was fed."""

    facts = SessionFacts("Counting", "1", "fp32", 8, 64, 16, "last")

    def __init__(self) -> None:
        self.fed: list[tuple[str, list[int]]] = []

    def prefill(self, tokens: Any) -> Any:
        self.fed.append(("prefill", tokens.tolist()))
        return np.zeros((1, 8), np.float32)

    def decode(self, token: int) -> Any:
        self.fed.append(("decode", [token]))
        return np.full(8, token, np.float32)

    def __enter__(self) -> Counting:
        return self

    def __exit__(self, *exc: object) -> None: ...


def ordered(directory: Path, tokens: list[int], prefilled: int) -> None:
    order = Order(str(directory), ARTIFACT, FeedTokens(prefilled), 1)
    (directory / ORDER).write_text(json.dumps(to_plain(order)))
    np.save(directory / TOKENS, np.array(tokens, np.int32))


def answer_of(directory: Path) -> Answer:
    return from_plain(Answer, json.loads((directory / ANSWER).read_text()))


def test_tokens_are_given_by_prefill_and_then_by_decode(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    session = Counting()
    monkeypatch.setitem(runtimes.open.DRIVERS, "onnx", lambda asked: session)
    ordered(tmp_path, [2, 3, 4, 5], prefilled=2)
    serve(tmp_path)
    assert session.fed == [("prefill", [2, 3]), ("decode", [4]), ("decode", [5])]
    assert np.load(tmp_path / LOGITS)[:, 0].tolist() == [4, 5]
    assert answer_of(tmp_path).error is None
    assert capsys.readouterr().out.splitlines() == [
        "opening model.onnx",
        "prefill of 2 tokens",
        "decode at position 2",
        "decode at position 3",
    ]


def test_one_of_our_errors_becomes_the_answer(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(asked: Opening) -> Any:
        raise ArtifactError(f"{asked.path}: cannot be loaded")

    monkeypatch.setitem(runtimes.open.DRIVERS, "onnx", refuse)
    ordered(tmp_path, [2, 3], prefilled=1)
    serve(tmp_path)
    assert answer_of(tmp_path).error == ("ArtifactError", f"{tmp_path / 'model.onnx'}: cannot be loaded")
    assert not (tmp_path / LOGITS).exists()


def test_the_cpus_features_are_those_of_its_first_processor(tmp_path: Path) -> None:
    facts = tmp_path / "cpuinfo"
    facts.write_text("processor\t: 0\nFeatures\t: fp asimd asimddp\n\nprocessor\t: 1\nFeatures\t: fp\n")
    assert cpu_features(facts) == ("fp", "asimd", "asimddp")
    facts.write_text("processor\t: 0\nflags\t\t: sse\n")
    assert cpu_features(facts) == ()
