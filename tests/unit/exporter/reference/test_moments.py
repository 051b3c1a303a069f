"""Second moments: the mean of products of inputs, shared where linears are given the same."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from exporter.errors import ReferenceModelError
from exporter.reference import moments
from exporter.reference.activations import input_sizes
from exporter.reference.moments import MomentsWatch
from tests.fakes import silent
from tests.tiny import RandomSource, tiny_gemma3


@pytest.mark.parametrize("columns", [3, 8, 512])
def test_moments_are_the_mean_of_products_over_all_batches(
    columns: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(moments, "COLUMNS", columns)
    random = np.random.default_rng(1)
    batches = [random.standard_normal((2, 5, 8)).astype(np.float32) for _ in range(3)]
    watch = MomentsWatch()
    for batch in batches:
        watch.enters("down", torch.from_numpy(batch))
    (seen,) = watch.groups()
    rows = np.concatenate([batch.reshape(-1, 8) for batch in batches])
    assert (seen.names, seen.tokens) == (frozenset({"down"}), 30)
    np.testing.assert_allclose(seen.second, rows.T @ rows / 30, rtol=1e-5)
    np.testing.assert_array_equal(seen.second, seen.second.T)
    (again,) = watch.groups()
    np.testing.assert_array_equal(again.second, seen.second)


def test_what_enters_at_the_token_that_begins_every_text_is_kept_for_keys_values_and_down() -> None:
    random = np.random.default_rng(4)
    begins = random.standard_normal(8).astype(np.float32)
    batches = [random.standard_normal((2, 5, 8)).astype(np.float32) for _ in range(3)]
    watch, prefix = MomentsWatch(), "model.layers.3."
    for batch in batches:
        batch[:, 0] = begins
        into_attention = torch.from_numpy(batch)
        for name in ("q_proj", "k_proj", "v_proj"):
            watch.enters(f"{prefix}self_attn.{name}.weight", into_attention)
        for name in ("self_attn.o_proj", "mlp.gate_proj", "mlp.down_proj"):
            watch.enters(f"{prefix}{name}.weight", into_attention.clone())
    found = {name: each.opening for each in watch.groups() for name in each.names}
    for name in ("self_attn.q_proj", "self_attn.k_proj", "self_attn.v_proj", "mlp.down_proj"):
        opening = found[f"{prefix}{name}.weight"]
        assert opening is not None, name
        np.testing.assert_array_equal(opening, begins)
    assert found[f"{prefix}self_attn.o_proj.weight"] is None
    assert found[f"{prefix}mlp.gate_proj.weight"] is None


def test_without_products_only_the_mean_squares_are_kept() -> None:
    random = np.random.default_rng(2)
    batches = [random.standard_normal((2, 5, 8)).astype(np.float32) for _ in range(3)]
    whole, squares = MomentsWatch(), MomentsWatch(products=False)
    for batch in batches:
        whole.enters("down", torch.from_numpy(batch))
        squares.enters("down", torch.from_numpy(batch))
    (of_products,), (of_squares,) = whole.groups(), squares.groups()
    assert (of_squares.names, of_squares.second.shape) == (frozenset({"down"}), (8,))
    assert of_squares.tokens == 30
    np.testing.assert_allclose(of_squares.second, np.diagonal(of_products.second), rtol=1e-5)


def test_linears_that_are_given_the_same_tensor_share_one_result() -> None:
    watch = MomentsWatch()
    for _ in range(2):  # batches
        shared, other = torch.randn(1, 4, 6), torch.randn(1, 4, 6)
        for name in ("q", "k", "v"):
            watch.enters(name, shared)
        watch.enters("o", other)
    found = {each.names: each.tokens for each in watch.groups()}
    assert found == {frozenset({"q", "k", "v"}): 8, frozenset({"o"}): 8}


def test_equal_tensors_are_not_the_same() -> None:
    watch = MomentsWatch()
    values = torch.randn(1, 4, 6)
    watch.enters("gate", values)
    watch.enters("other", values.clone())
    assert len(watch.groups()) == 2


@pytest.mark.parametrize("value", [float("nan"), float("inf"), 1e30])
def test_a_linear_whose_inputs_are_not_finite_is_named(value: float) -> None:
    watch = MomentsWatch()
    watch.enters("model.layers.1.mlp.down_proj.weight", torch.tensor([[[1.0, value]]]))
    with pytest.raises(
        ReferenceModelError, match=r"model\.layers\.1\.mlp\.down_proj\.weight of layer \d: what enters it"
    ):
        watch.groups()


def test_equalising_names_a_linear_whose_inputs_are_not_finite() -> None:
    source = RandomSource(tiny_gemma3())
    source.weights["model.layers.0.mlp.gate_proj.weight"][3] = 3e38
    with pytest.raises(
        ReferenceModelError, match=r"model\.layers\.0\.mlp\.down_proj\.weight of layer \d: what enters it"
    ):
        input_sizes(source, np.arange(10, dtype=np.int32), silent)
