"""What half precision does to a graph on LiteRT's GPU accelerator: right as it is written, and caught where
it is written as graphs were once.

Matrix: a residual stream of a real model's size, positions of a thousand, 4-bit codes by row; unscaled,
squared as it comes, with angles computed in the graph, with scales in one. Not asserted: families and
recipes (`test_litert_gpu`), real weights (docs/accelerators.md).
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from ai_edge_litert import schema_py_generated as schema
from torch import Tensor

from exporter.formats.execution_path import PathOrder
from exporter.formats.litert import LITERT, LITERT_STREAM
from exporter.lowering.litert import signatures
from exporter.lowering.litert.dialect import LiteRtDialect
from exporter.lowering.litert.lowering import LiteRtLowering
from exporter.models.text.rotary import inverse_frequencies
from exporter.models.text.spec import LayerSpec
from exporter.quantization.store.checkpoint import QuantizedCheckpoint
from exporter.schemes import INT4_CHANNEL, INT8_CHANNEL
from tests.tiny import RandomSource, tiny_gemma1
from tests.tiny_releases import (
    TinyRelease,
    eager_logits,
    mean_kl,
    quantized,
    quantized_source,
    some_tokens,
)

PATH = {path.name: path for path in LITERT.paths}["litert-gpu-fp16"]
NEAR, FAR, DECODED = 64, 1024, 16
FIRST_DOWN = "model.layers.0.mlp.down_proj.weight"  # what comes of it joins the stream as it is

pytestmark = pytest.mark.usefixtures("on_the_gpu")


def strays(directory: Path, checkpoint: QuantizedCheckpoint, count: int, chunk: int = 16) -> float:
    """Mean KL, over the last tokens of so many, of what the path makes of them against plain torch."""
    if (reason := PATH.missing()) is not None:
        pytest.skip(reason)  # a failure in CI
    lowering, tokens = LiteRtLowering(frozenset({"tflite"})), some_tokens(count)
    release = TinyRelease.lower(directory, checkpoint, lowering, context=count, prefill_chunk=chunk)
    artifact, prefilled = release.artifacts["tflite"], count - DECODED
    answer = PATH.run(PathOrder(release.directory, artifact, tokens, prefilled, directory, 900))
    assert answer.left_over == ()
    if not np.isfinite(answer.logits).all():
        return np.inf
    return mean_kl(eager_logits(checkpoint, tokens)[prefilled:], answer.logits)


def rotated_by_the_graph(dialect: LiteRtDialect, layer: LayerSpec) -> tuple[Tensor, Tensor]:
    """cos and sin of angles computed where they are needed, as they were once."""
    ops, tokens = dialect.ops, dialect.positions.shape[0]
    frequencies = inverse_frequencies(layer.rope, layer.head_dim).numpy()
    signed = ops.graph.constant(np.concatenate([-frequencies, frequencies]))
    cast = schema.CastOptionsT()
    cast.inDataType, cast.outDataType = schema.TensorType.INT32, schema.TensorType.FLOAT32
    at = ops.graph.emit(schema.BuiltinOperator.CAST, [dialect.positions], [tokens], options=cast)
    angles = ops.multiply(ops.reshape(at, [1, tokens, 1, 1]), signed)
    cos, sin = (
        ops.graph.emit(each, [angles], angles.shape)
        for each in (schema.BuiltinOperator.COS, schema.BuiltinOperator.SIN)
    )
    return cos, sin


def squared_as_it_comes(
    dialect: LiteRtDialect, x: Tensor, gain: str | None, eps: float, scale: float = 1.0
) -> Tensor:
    """The norm as it is written in a book."""
    ops = dialect.ops
    y = ops.multiply(x, ops.rsqrt(ops.add(ops.mean(ops.multiply(x, x)), eps)))
    if gain is not None:
        return ops.multiply(y, ops.graph.constant(dialect.gains[gain] * np.float32(scale), gain))
    return y if scale == 1.0 else ops.multiply(y, scale)


@pytest.mark.parametrize("wrong", ["nothing", "stream", "norm"])
def test_a_large_stream_is_right_and_caught_where_it_is_not_scaled(
    wrong: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    if wrong == "stream":
        monkeypatch.setattr(signatures, "LITERT_STREAM", replace(LITERT_STREAM, smallest=1.0))
    if wrong == "norm":
        monkeypatch.setattr(LiteRtDialect, "norm", squared_as_it_comes)
    source = RandomSource(tiny_gemma1())
    source.weights[FIRST_DOWN] *= np.float32(3e4)
    strayed = strays(tmp_path, quantized_source(tmp_path, source, INT8_CHANNEL), NEAR)
    if wrong == "nothing":
        assert strayed <= PATH.mean_kl_limit
    else:
        assert strayed > 10 * PATH.mean_kl_limit


@pytest.mark.parametrize("tables", [True, False], ids=["tables", "angles"])
def test_far_positions_are_right_by_tables_alone(
    tables: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    if not tables:
        monkeypatch.setattr(LiteRtDialect, "_rotation", rotated_by_the_graph)
    source = RandomSource({**tiny_gemma1(), "max_position_embeddings": 1024})
    strayed = strays(tmp_path, quantized_source(tmp_path, source, INT8_CHANNEL), FAR, chunk=128)
    assert strayed <= PATH.mean_kl_limit if tables else strayed > 10 * PATH.mean_kl_limit


@pytest.mark.parametrize("in_two", [True, False], ids=["scales in two", "scales in one"])
def test_four_bit_rows_are_right_with_scales_in_two_alone(
    in_two: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    if not in_two:
        monkeypatch.setattr(
            "exporter.lowering.litert.storage.in_two", lambda scales: (scales, np.ones_like(scales))
        )
    strayed = strays(tmp_path, quantized(tmp_path, tiny_gemma1(), INT4_CHANNEL), NEAR)
    assert strayed <= PATH.mean_kl_limit if in_two else strayed > 2 * PATH.mean_kl_limit
