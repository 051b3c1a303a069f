"""Scales of 4-bit rows in two: exact, read back as one, and the product is multiplied with the factors."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from exporter.errors import LoweringError
from exporter.lowering.litert.lowering import LiteRtLowering
from exporter.lowering.litert.operations import Operations
from exporter.lowering.litert.reading import LiteRtFile
from exporter.lowering.litert.row_factors import in_two
from exporter.schemes import INT4_CHANNEL
from tests.tiny import tiny_gemma3
from tests.unit.exporter.lowering.litert.tiny_releases import (
    TinyRelease,
    eager_logits,
    litert_logits,
    lowered,
    mean_kl,
    quantized,
    some_tokens,
    twin_logits,
)

LINEAR, TABLE = "model.layers.2.mlp.down_proj.weight", "model.embed_tokens.weight"
TOKENS, PREFILLED = some_tokens(40), 37
LOWERING_LIMIT = 1e-6


@pytest.fixture(scope="module")
def release(tmp_path_factory: pytest.TempPathFactory) -> TinyRelease:
    directory = tmp_path_factory.mktemp("int4-channel")
    checkpoint = quantized(directory, tiny_gemma3(), INT4_CHANNEL)
    return lowered(directory, checkpoint, LiteRtLowering(frozenset({"tflite"})))


def test_a_scale_is_its_power_times_its_factor_bit_by_bit() -> None:
    normal = np.random.default_rng(1).standard_normal(1000).astype(np.float16)
    smallest = np.array([0, 2.0**-24, 3 * 2.0**-24, 65504, -0.01, 1, 2, 0.5], np.float16)
    scales = np.concatenate([normal, smallest]).astype(np.float32)
    powers, factors = in_two(scales)
    np.testing.assert_array_equal(powers * factors, scales)
    assert (np.frexp(powers)[0] == 0.5).all()
    assert ((np.abs(factors) >= 1) & (np.abs(factors) < 2))[scales != 0].all()
    np.testing.assert_array_equal(factors.astype(np.float16).astype(np.float32), factors)


def test_such_products_are_exact_in_half_precision_and_those_of_plain_scales_are_not() -> None:
    """What the accelerator does to a code: (c + 128) s - 128 s, each product rounded."""
    codes = np.arange(-8, 8).astype(np.float16)[:, None]
    scales = np.abs(np.random.default_rng(1).standard_normal(100)).astype(np.float16)

    def widened(scale: Any) -> Any:
        return (codes + np.float16(128)) * scale - np.float16(128) * scale

    powers = in_two(scales.astype(np.float32))[0].astype(np.float16)
    np.testing.assert_array_equal(widened(powers), codes * powers)
    assert np.abs((widened(scales) - codes * scales) / scales).max() > 0.04


def test_what_is_read_back_has_the_scales_of_the_checkpoint(release: TinyRelease) -> None:
    file = LiteRtFile.open(release.path())
    for name, matrix in file.matrices.items():
        rows = matrix.shape[0]
        stored = file.rows(matrix, 0, rows)
        planned = release.checkpoint.matrices[name]
        np.testing.assert_array_equal(stored.scales, planned.scales(0, rows))  # type: ignore[union-attr]
        assert (matrix.row_factors is None) == (name == TABLE)
    scales = file.matrices[LINEAR].row_scales
    assert scales is not None
    assert (np.frexp(scales)[0] == 0.5).all()


def test_eight_bits_keep_their_scales(int8_release: TinyRelease) -> None:
    matrices = LiteRtFile.open(int8_release.path()).matrices
    assert all(matrix.row_factors is None for matrix in matrices.values())


def test_the_float_twin_computes_what_plain_torch_does(release: TinyRelease, tmp_path: Path) -> None:
    twin = LiteRtLowering().float_twin(release.directory, release.artifacts["tflite"], tmp_path)
    expected = eager_logits(release.checkpoint, TOKENS)[PREFILLED:]
    assert mean_kl(expected, twin_logits(twin, TOKENS, PREFILLED)) <= LOWERING_LIMIT


def test_the_processor_computes_what_it_did_without_factors(
    release: TinyRelease, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(
        "exporter.lowering.litert.storage.in_two", lambda scales: (scales, np.ones_like(scales))
    )
    before = lowered(tmp_path, release.checkpoint, LiteRtLowering(frozenset({"tflite"})))
    found, plain = (litert_logits(each.path(), TOKENS, PREFILLED) for each in (release, before))
    assert mean_kl(plain, found) <= LOWERING_LIMIT


def test_a_graph_that_forgets_the_factors_is_refused(
    release: TinyRelease, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Forgetful(Operations):
        def multiply(self, a: Any, b: Any) -> Any:
            forgets = not isinstance(b, float) and b.dim() == 1 and self.graph.place(b) in factors(self)
            return self.add(a, b) if forgets else super().multiply(a, b)

    def factors(ops: Operations) -> set[int]:
        tensors = ops.graph.subgraph.tensors
        return {at for at, tensor in enumerate(tensors) if str(tensor.name).endswith("_row_factors")}

    monkeypatch.setattr("exporter.lowering.litert.signatures.Operations", Forgetful)
    with pytest.raises(LoweringError, match=r"used without model\.layers\.0.*_row_factors"):
        lowered(tmp_path, release.checkpoint, LiteRtLowering(frozenset({"tflite"})))
