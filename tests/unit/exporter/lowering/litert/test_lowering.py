"""What LiteRT's lowering alone has: two formats of one graph, groups of zeros, formats it does not write.

What every lowering promises is in tests/contracts/test_lowering.py.
"""

from __future__ import annotations

import hashlib
from pathlib import Path

import numpy as np
import pytest

from exporter.errors import LoweringError
from exporter.lowering.litert.lowering import LiteRtLowering
from exporter.quantization.methods.scale_search import SMALLEST_FP16, ZERO_GROUP_SCALE
from exporter.quantization.store.checkpoint import IntegerMatrix
from exporter.schemes import INT4_G32
from tests.fakes import silent
from tests.tiny import RandomSource, tiny_gemma3
from tests.tiny_releases import (
    CHUNK,
    CONTEXT,
    eager_logits,
    lowering_order,
    mean_kl,
    quantized_source,
    some_tokens,
)
from tests.unit.exporter.lowering.litert.tiny_releases import (
    TinyRelease,
    litert_logits,
    lowered,
)

PREFILLED = 2 * CHUNK + 5


def test_the_bundle_runs_the_very_same_model(int8_release: TinyRelease) -> None:
    tokens = some_tokens(CONTEXT)
    plain, bundled = (
        litert_logits(int8_release.path(form), tokens, PREFILLED) for form in ("tflite", "litertlm")
    )
    np.testing.assert_array_equal(plain, bundled)


@pytest.mark.parametrize("form", ["tflite", "litertlm"])
def test_only_the_formats_asked_for_are_left(form: str, int8_release: TinyRelease, tmp_path: Path) -> None:
    lowering = LiteRtLowering(frozenset({form}))  # type: ignore[arg-type]  # parametrized as str
    alone = lowered(tmp_path, int8_release.checkpoint, lowering)
    assert [path.name for path in alone.directory.iterdir()] == [f"model.{form}"]
    assert _digest(alone.path(form)) == _digest(int8_release.path(form))


def test_groups_of_zeros_and_of_subnormal_scale_run(tmp_path: Path) -> None:
    source = RandomSource(tiny_gemma3())
    name = "model.layers.0.mlp.gate_proj.weight"
    source.weights[name][0, :32] = 0
    source.weights[name][1, :32] *= 1e-7
    checkpoint = quantized_source(tmp_path, source, INT4_G32)
    matrix = checkpoint.matrices[name]
    assert isinstance(matrix, IntegerMatrix)
    scales = matrix.scales(0, 2).astype(np.float32)
    assert scales[0, 0] == ZERO_GROUP_SCALE
    assert SMALLEST_FP16 <= scales[1, 0] < np.finfo(np.float16).smallest_normal
    tokens = some_tokens(CONTEXT)
    found = litert_logits(lowered(tmp_path, checkpoint).path(), tokens, PREFILLED)
    assert mean_kl(eager_logits(checkpoint, tokens)[PREFILLED:], found) < 1e-2


def test_a_format_of_another_runtime_is_refused(int8_release: TinyRelease, tmp_path: Path) -> None:
    with pytest.raises(LoweringError, match="onnx"):
        LiteRtLowering(frozenset({"onnx"})).lower(
            lowering_order(int8_release.checkpoint, tmp_path), tmp_path, silent
        )


def _digest(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()
