"""Equalised weights compute what the source computes, in every family, and quantise better."""

from __future__ import annotations

from collections.abc import Collection
from typing import Any

import numpy as np
import pytest
import torch

from exporter.models.text.eager import EagerState, effective_weights, run_eagerly
from exporter.models.text.spec import COLUMNS_NAME
from exporter.planning.recipe import Equalization
from exporter.quantization.methods.nearest import quantize_rows
from exporter.quantization.transforms.equalization import EqualizedSource, equalize
from exporter.reference.activations import input_sizes
from exporter.schemes import INT8_CHANNEL
from tests.holding_source import HoldingSource
from tests.tiny import TINY_CONFIGS, RandomSource, tiny_gemma3

HOW = Equalization(weights=0.25, activations=0.5, embedding=1.0, reason="test")
TOKENS = torch.randint(0, 512, (40,), generator=torch.Generator().manual_seed(5))


def nothing(what: str, done: int, total: int) -> None:
    """Progress nobody watches."""


def source_with_outliers(config: dict[str, Any]) -> RandomSource:
    """A few embedding columns and a few inputs much larger than the rest, as trained Gemmas have."""
    source = RandomSource(config)
    source.weights["model.embed_tokens.weight"][:, [3, 17]] *= 20
    source.weights["model.layers.1.mlp.down_proj.weight"][:, 5] *= 10
    return source


def equalized(
    source: RandomSource, by_row: Collection[str] = (), in_groups: Collection[str] = ()
) -> EqualizedSource:
    sizes = input_sizes(source, TOKENS.numpy().astype(np.int32), nothing)
    return equalize(source, sizes, HOW, by_row, in_groups)


def matrices(source: RandomSource) -> frozenset[str]:
    return frozenset(weight.name for weight in source.components["text"].weights if weight.is_matrix)


def logits(source: RandomSource | EqualizedSource) -> torch.Tensor:
    """Logits by the decoder; an equalised embedding's head is made up for in the final norm."""
    spec = source.components["text"].spec
    stored = {
        weight.name: torch.from_numpy(source.rows(weight.name, 0, weight.shape[0]).copy())
        for weight in spec.weights()
    }
    weights = effective_weights(spec, stored)
    if spec.embedding_columns:
        weights["model.norm.weight"] = weights["model.norm.weight"] * weights[COLUMNS_NAME]
    return run_eagerly(spec, weights, EagerState.empty(spec, 64, 40), TOKENS)


@pytest.mark.parametrize("one_scale_a_row", [False, True])
@pytest.mark.parametrize("family", TINY_CONFIGS)
def test_an_equalised_source_computes_what_its_base_does(family: str, one_scale_a_row: bool) -> None:
    source = source_with_outliers(TINY_CONFIGS[family]())
    other = equalized(source, matrices(source) if one_scale_a_row else ())
    assert other.components["text"].spec.embedding_columns
    torch.testing.assert_close(logits(other), logits(source), atol=2e-4, rtol=1e-4)


def test_values_are_not_rescaled_for_an_o_projection_in_groups() -> None:
    source = source_with_outliers(tiny_gemma3())
    o, v = (f"model.layers.1.self_attn.{name}_proj.weight" for name in "ov")
    plain, other = equalized(source), equalized(source, in_groups={o})
    assert {o, v} <= plain.columns.keys() | plain.row_factors.keys()
    assert o not in other.columns
    assert v not in other.row_factors
    np.testing.assert_array_equal(other.rows(o, 0, 64), source.rows(o, 0, 64))
    assert "model.layers.0.self_attn.o_proj.weight" in other.columns
    torch.testing.assert_close(logits(other), logits(source), atol=2e-4, rtol=1e-4)


def test_factors_lie_on_a_grid_that_no_machines_last_bit_moves() -> None:
    source = equalized(source_with_outliers(tiny_gemma3()))
    for table in (source.columns, source.row_factors, source.gains):
        assert table
        for factor in table.values():
            exponents = np.rint(np.log2(factor) * 4) / 4
            np.testing.assert_array_equal(np.exp2(exponents).astype(np.float16), factor)


def test_rows_of_one_scale_lose_less_by_fitted_columns() -> None:
    source = source_with_outliers(tiny_gemma3())
    inputs = input_sizes(source, TOKENS.numpy().astype(np.int32), nothing)
    plain, fitted = equalized(source), equalized(source, matrices(source))

    def error(other: EqualizedSource, name: str) -> float:
        """Of the outputs, inputs being independent."""
        rows, columns = other.rows(name, 0, source.tensors[name].shape[0]), other.columns[name]
        found = quantize_rows(rows, INT8_CHANNEL)
        lost = (found.codes.astype(np.float32) * found.scales.astype(np.float32) - rows) * columns
        return float(np.square(lost * inputs[name]).sum() / np.square(rows * columns * inputs[name]).sum())

    kinds = {"down_proj": 0.0, "o_proj": 0.0, "up_proj": 0.0}
    for kind in kinds:
        names = [name for name in plain.columns if kind in name]
        kinds[kind] = sum(error(fitted, name) for name in names) / sum(error(plain, name) for name in names)
    assert max(kinds.values()) < 0.95, kinds


def test_a_matrix_in_groups_keeps_all_that_share_its_input_at_the_exponents() -> None:
    source = source_with_outliers(tiny_gemma3())
    grouped = "model.layers.1.mlp.gate_proj.weight"
    plain, some = equalized(source), equalized(source, matrices(source) - {grouped})
    for kind, same in (("gate", True), ("up", True), ("down", False), ("o", False)):
        owner = "mlp" if kind != "o" else "self_attn"
        name = f"model.layers.1.{owner}.{kind}_proj.weight"
        assert np.array_equal(plain.columns[name], some.columns[name]) == same, name


def test_an_outlying_embedding_column_no_longer_sets_every_rows_scale() -> None:
    source = source_with_outliers(tiny_gemma3())
    other = equalized(source)
    name, plain = "model.embed_tokens.weight", source.weights["model.embed_tokens.weight"]

    def error(rows: np.ndarray[Any, np.dtype[np.float32]], columns: Any) -> float:
        found = quantize_rows(rows, INT8_CHANNEL)
        restored = found.codes.astype(np.float32) * found.scales.astype(np.float32) * columns
        usual = np.delete(np.arange(plain.shape[1]), [3, 17])
        return float(np.square(restored - plain)[:, usual].mean())

    assert error(other.rows(name, 0, 512), other.columns[name]) < error(plain, 1.0) / 10


def test_rows_are_read_by_range() -> None:
    source = equalized(source_with_outliers(tiny_gemma3()))
    for weight in source.components["text"].weights:
        whole = source.rows(weight.name, 0, weight.shape[0])
        middle = weight.shape[0] // 2
        pieces = [source.rows(weight.name, 0, middle), source.rows(weight.name, middle, weight.shape[0])]
        np.testing.assert_array_equal(np.concatenate(pieces), whole)


def test_what_was_equalised_is_part_of_the_sources_identity() -> None:
    source = source_with_outliers(tiny_gemma3())
    assert equalized(source).digests() == equalized(source).digests()
    assert equalized(source).digests() != source.digests()


def test_codes_of_equalised_matrices_are_no_longer_held() -> None:
    source = HoldingSource(tiny_gemma3(), others="Q8_0")
    found = equalized(source)
    assert set(source.held) == {
        weight.name for weight in source.components["text"].weights if weight.is_matrix
    }
    for name in source.held:
        rows = source.tensors[name].shape[0]
        same = np.array_equal(found.rows(name, 0, rows), source.rows(name, 0, rows))
        assert (name in found.held) == (name not in found.rewritten)
        assert same or name not in found.held
    assert not found.held  # of this family: every matrix has an input or a row that is equalised
