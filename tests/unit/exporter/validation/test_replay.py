"""The calls a Mac replays are the evaluator's, and a replay of them by the evaluator passes."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np

from exporter.lowering.coreml.lowering import CoreMlLowering
from exporter.planning.scheme import INT8_CHANNEL
from exporter.validation.replay import DECODED, write_replay
from runtimes.open import open_session
from tests.fakes import silent
from tests.tiny import tiny_gemma3
from tests.tiny_releases import CHUNK, lowering_request, quantized


def test_the_vectors_hold_a_chunk_and_decode_steps_of_the_package(tmp_path: Path) -> None:
    request = lowering_request(quantized(tmp_path, tiny_gemma3(), INT8_CHANNEL), tmp_path)
    (artifact,) = CoreMlLowering().lower(request, tmp_path, silent)
    tokens = np.arange(10, 60, dtype=np.int32)
    vectors = json.loads(write_replay(tmp_path, artifact, tokens).read_text())
    calls = [call["tokens"] for call in vectors["calls"]]
    assert [len(call) for call in calls] == [CHUNK] + [1] * DECODED
    assert [token for call in calls for token in call] == tokens[: CHUNK + DECODED].tolist()
    with open_session(tmp_path, artifact, mil_arithmetic="fp16") as session:
        session.prefill(tokens[: CHUNK + DECODED - 1])
        expected = session.decode(int(tokens[CHUNK + DECODED - 1]))
    (token, logit) = vectors["calls"][-1]["expected"][-1]["top"][0]
    assert token == expected.argmax()
    assert abs(logit - expected[token]) < 1e-2
