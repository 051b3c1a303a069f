"""What half precision does to a graph on LiteRT's GPU accelerator: right as it is written, and caught where
it is written as graphs were once.

Matrix: a residual stream of a real model's size, in a model without post norms: as it is, unscaled, and
with norms that square it as it comes. Not asserted: families and recipes (`test_litert_gpu`), real weights
(docs/accelerators.md).
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from torch import Tensor

from exporter.formats.execution_path import PathOrder
from exporter.formats.litert import LITERT, LITERT_STREAM
from exporter.lowering.litert import signatures
from exporter.lowering.litert.dialect import LiteRtDialect
from exporter.lowering.litert.lowering import LiteRtLowering
from exporter.quantization.store.checkpoint import QuantizedCheckpoint
from exporter.schemes import INT8_CHANNEL
from tests.tiny import RandomSource, tiny_gemma1
from tests.tiny_releases import TinyRelease, eager_logits, mean_kl, quantized_source, some_tokens

PATH = {path.name: path for path in LITERT.paths}["litert-gpu-fp16"]
TOKENS, PREFILLED = some_tokens(60), 37
FIRST_DOWN = "model.layers.0.mlp.down_proj.weight"  # what comes of it joins the stream as it is

pytestmark = pytest.mark.usefixtures("on_the_gpu")


def strays(directory: Path, checkpoint: QuantizedCheckpoint) -> float:
    """Mean KL against plain torch of what the path, which takes all of it, makes of the tokens."""
    if (reason := PATH.missing()) is not None:
        pytest.skip(reason)  # a failure in CI
    release = TinyRelease.lower(directory, checkpoint, LiteRtLowering(frozenset({"tflite"})), context=64)
    artifact = release.artifacts["tflite"]
    answer = PATH.run(PathOrder(release.directory, artifact, TOKENS, PREFILLED, directory, 900))
    assert answer.left_over == ()
    if not np.isfinite(answer.logits).all():
        return np.inf
    return mean_kl(eager_logits(checkpoint, TOKENS)[PREFILLED:], answer.logits)


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
    strayed = strays(tmp_path, quantized_source(tmp_path, source, INT8_CHANNEL))
    if wrong == "nothing":
        assert strayed <= PATH.mean_kl_limit
    else:
        assert strayed > 10 * PATH.mean_kl_limit
