"""The calls a Mac replays are the evaluator's, and a replay of them by the evaluator passes."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from exporter.lowering.coreml.lowering import CoreMlLowering
from exporter.models.text.spec import ModelSpec
from exporter.schemes import INT8_CHANNEL
from exporter.validation.replay import DECODED, write_replay
from runtimes.manifest import Artifact
from runtimes.open import open_session
from tests.fakes import silent
from tests.tiny import WINDOW, tiny_gemma3
from tests.tiny_releases import CHUNK, lowering_order, quantized


@pytest.fixture(scope="module")
def package(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Artifact, ModelSpec]:
    """A tiny Gemma 3 as Core ML, its window as long as a chunk."""
    directory = tmp_path_factory.mktemp("package")
    checkpoint = quantized(directory, tiny_gemma3(), INT8_CHANNEL)
    (artifact,) = CoreMlLowering().lower(lowering_order(checkpoint, directory), directory, silent)
    return directory, artifact, checkpoint.components["text"].spec


def test_the_vectors_hold_chunks_past_the_window_and_decode_steps_of_the_package(
    package: tuple[Path, Artifact, ModelSpec],
) -> None:
    directory, artifact, spec = package
    tokens = np.arange(10, 60, dtype=np.int32)
    vectors = json.loads(write_replay(directory, artifact, spec, tokens).read_text())
    calls = [call["tokens"] for call in vectors["calls"]]
    assert [len(call) for call in calls] == [CHUNK, CHUNK // 2] + [1] * DECODED
    called = sum(len(call) for call in calls)
    assert called > WINDOW
    assert [token for call in calls for token in call] == tokens[:called].tolist()
    with open_session(directory, artifact, mil_arithmetic="fp16") as session:
        session.prefill(tokens[: called - 1])
        expected = session.decode(int(tokens[called - 1]))
    (token, logit) = vectors["calls"][-1]["expected"][-1]["top"][0]
    assert token == expected.argmax()
    assert abs(logit - expected[token]) < 1e-2


@pytest.mark.parametrize(("count", "sizes"), [(25, [CHUNK, 1, 1, 1, 1]), (9, [5, 1, 1, 1, 1]), (1, [1])])
def test_a_text_that_ends_before_the_window_gives_what_it_has(
    package: tuple[Path, Artifact, ModelSpec], count: int, sizes: list[int]
) -> None:
    directory, artifact, spec = package
    tokens = np.arange(10, 10 + count, dtype=np.int32)
    vectors = json.loads(write_replay(directory, artifact, spec, tokens).read_text())
    assert [len(call["tokens"]) for call in vectors["calls"]] == sizes
