from __future__ import annotations

import numpy as np
import pytest

from benchmarks.vendor_quantizers import VENDORS, quantized_by
from tests.tiny import RandomSource, tiny_gemma3


@pytest.mark.parametrize("name", VENDORS)
def test_a_vendors_quantiser_gives_a_grid_of_its_own(name: str) -> None:
    matrix = np.random.default_rng(3).standard_normal((48, 96)).astype(np.float32)
    found = VENDORS[name](matrix, 4)
    assert 4.5 <= found.bits <= 4.625
    for group in found.values.reshape(48, 3, 32).reshape(-1, 32):
        assert len(np.unique(group)) <= 16
    error = np.sqrt(np.mean((found.values - matrix) ** 2))
    finer = VENDORS[name](matrix, 8)
    assert 0 < np.sqrt(np.mean((finer.values - matrix) ** 2)) < error / 5 < 0.03


@pytest.mark.parametrize("name", VENDORS)
def test_every_tensor_of_a_model_has_values_and_bytes(name: str) -> None:
    source = RandomSource(tiny_gemma3())
    found = quantized_by(source, name)
    for tensor, there in source.tensors.items():
        rows = found.rows(tensor, 0, there.shape[0])
        assert tuple(rows.shape) == there.shape
        assert found.stored_bytes(tensor) > 0
    head = source.components["text"].spec.head_name
    assert found.bits[head] >= 8 > 5 > found.bits["model.layers.0.mlp.up_proj.weight"]
