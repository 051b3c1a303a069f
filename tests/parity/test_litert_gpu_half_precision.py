"""What LiteRT's graphs do for half precision is needed: undone, the gate on fp16 fails, and no other.

Matrix: RoPE from tables and in the graph, at positions past 3,000; a stream of 1e5, scaled and not. On a
tiny Gemma 3. Not asserted: how far other models stray (tests/parity/test_litert_gpu.py).
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from ai_edge_litert import schema_py_generated as schema
from torch import Tensor

from exporter.formats.execution_path import PathAnswer, PathOrder
from exporter.formats.litert import GPU_LIMITS, LITERT
from exporter.formats.residual import ScaledStream
from exporter.lowering.litert import signatures
from exporter.lowering.litert.dialect import LiteRtDialect
from exporter.lowering.litert.lowering import LiteRtLowering
from exporter.models.text.rotary import inverse_frequencies
from exporter.models.text.spec import LayerSpec
from exporter.schemes import FP32
from tests.tiny import RandomSource, tiny_gemma3
from tests.tiny_releases import TinyRelease, eager_logits, mean_kl, quantized_source, some_tokens

FP32_PATH, FP16_PATH = LITERT.paths
CONTEXT, CHUNK = 3072, 128
GAIN = "model.layers.0.post_feedforward_layernorm.weight"
LONG = {**tiny_gemma3(), "max_position_embeddings": 4096}

pytestmark = pytest.mark.usefixtures("on_the_gpu")


def strays(directory: Path, source: RandomSource, tokens: int) -> dict[str, float]:
    """Mean KL of the last 16 of some tokens against plain torch, on each GPU path."""
    if (reason := FP16_PATH.missing()) is not None:
        pytest.skip(reason)
    directory.mkdir(exist_ok=True)
    checkpoint = quantized_source(directory, source, FP32)
    release = TinyRelease.lower(
        directory, checkpoint, LiteRtLowering(), context=CONTEXT, prefill_chunk=CHUNK
    )
    fed = some_tokens(tokens)
    expected = eager_logits(checkpoint, fed)[-16:]
    found = {}
    for path in (FP32_PATH, FP16_PATH):
        scratch = directory / path.name
        scratch.mkdir()
        order = PathOrder(release.directory, release.artifacts["tflite"], fed, tokens - 16, scratch, 900)
        answer: PathAnswer = path.run(order)
        assert answer.left_over == ()
        found[path.name] = mean_kl(expected, answer.logits) if np.isfinite(answer.logits).all() else np.inf
    return found


def test_rope_in_the_graph_is_wrong_in_fp16_and_from_tables_it_is_right(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    source = RandomSource(LONG)
    right = strays(tmp_path / "tables", source, CONTEXT - 8)
    monkeypatch.setattr(LiteRtDialect, "_rotation", rotation_in_the_graph)
    wrong = strays(tmp_path / "graph", source, CONTEXT - 8)
    assert right[FP32_PATH.name] <= GPU_LIMITS["fp32"]
    assert right[FP16_PATH.name] <= GPU_LIMITS["fp16"] < wrong[FP16_PATH.name]


def test_a_stream_that_fp16_does_not_hold_is_right_where_it_is_scaled_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    source = RandomSource(LONG)
    source.weights[GAIN][:] = 4e4  # of what a norm gives, whose largest is 2 or 3
    right = strays(tmp_path / "scaled", source, 60)
    monkeypatch.setattr(signatures, "LITERT_STREAM", ScaledStream(headroom=1.0, smallest=1.0))
    wrong = strays(tmp_path / "whole", source, 60)
    assert max(right[FP32_PATH.name], wrong[FP32_PATH.name]) <= GPU_LIMITS["fp32"]
    assert right[FP16_PATH.name] <= GPU_LIMITS["fp16"] < wrong[FP16_PATH.name]


def rotation_in_the_graph(self: LiteRtDialect, layer: LayerSpec) -> tuple[Tensor, Tensor]:
    """As releases of 0.1.0 had it: angles are positions times frequencies, in the graph's arithmetic."""
    key = (layer.rope, layer.head_dim)
    if key not in self._rotations:
        ops, tokens = self.ops, self.positions.shape[0]
        frequencies = inverse_frequencies(layer.rope, layer.head_dim).numpy()
        signed = ops.graph.constant(np.concatenate([-frequencies, frequencies]))
        at = ops.graph.emit(schema.BuiltinOperator.CAST, [self.positions], (tokens,), dtype=torch.float32)
        angles = ops.multiply(ops.reshape(at, [1, tokens, 1, 1]), signed)
        cos, sin = (
            ops.graph.emit(kind, [angles], tuple(angles.shape))
            for kind in (schema.BuiltinOperator.COS, schema.BuiltinOperator.SIN)
        )
        self._rotations[key] = (cos, sin)
    return self._rotations[key]
