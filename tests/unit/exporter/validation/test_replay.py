"""The calls a Mac replays are the evaluator's, and a replay of them by the evaluator passes."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np

from exporter.lowering.coreml.lowering import CoreMlLowering
from exporter.lowering.interface import LoweringRequest
from exporter.planning.scheme import INT8_CHANNEL
from exporter.quantization.writer import write_quantized
from exporter.validation.replay import DECODED, write_replay
from runtimes.open import open_session
from tests.tiny import RandomSource, tiny_gemma3


def nothing(what: str, done: int, total: int) -> None:
    """Progress nobody watches."""


def test_the_vectors_hold_a_chunk_and_decode_steps_of_the_package(tmp_path: Path) -> None:
    source = RandomSource(tiny_gemma3())
    source.write_tokenizer(tmp_path)
    schemes = {weight.name: INT8_CHANNEL for weight in source.spec.weights() if weight.is_matrix}
    request = LoweringRequest(
        checkpoint=write_quantized(source, schemes, tmp_path / "quantized", nothing),
        context=64,
        prefill_chunk=16,
        prefill_logits="all",
        tokenizer=tmp_path,
        bos_token=2,
        stop_tokens=(1,),
        chat_template=None,
    )
    (artifact,) = CoreMlLowering().lower(request, tmp_path, nothing)
    tokens = np.arange(10, 60, dtype=np.int32)
    vectors = json.loads(write_replay(tmp_path, artifact, tokens).read_text())
    calls = [call["tokens"] for call in vectors["calls"]]
    assert [len(call) for call in calls] == [16] + [1] * DECODED
    assert [token for call in calls for token in call] == tokens[: 16 + DECODED].tolist()
    with open_session(tmp_path, artifact, mil_arithmetic="fp16") as session:
        session.prefill(tokens[: 16 + DECODED - 1])
        expected = session.decode(int(tokens[16 + DECODED - 1]))
    (token, logit) = vectors["calls"][-1]["expected"][-1]["top"][0]
    assert token == expected.argmax()
    assert abs(logit - expected[token]) < 1e-2
