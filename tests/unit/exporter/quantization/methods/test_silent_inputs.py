"""What methods make of a matrix into which the calibration text put next to nothing."""

from __future__ import annotations

import numpy as np
import pytest

from exporter.quantization.methods.calibrated import Calibrated
from exporter.quantization.methods.interface import InputMoments, MatrixRows, Method
from exporter.quantization.methods.nearest import Nearest
from exporter.quantization.methods.weighted import Weighted
from exporter.schemes import INT4_G32, INT8_CHANNEL, IntegerScheme
from tests.tiny import RandomSource, tiny_gemma3

NAME = "model.layers.0.mlp.up_proj.weight"


def weights_of(method: Method, scheme: IntegerScheme, energy: float) -> np.ndarray:
    rows = MatrixRows(RandomSource(tiny_gemma3()), NAME, 0, 64)
    moments = InputMoments(np.full((64, 64), energy, np.float32), 32)
    found = method.find(rows, scheme, moments)
    scales = np.repeat(found.scales.astype(np.float32), 64 // found.scales.shape[1], axis=1)
    return found.codes * scales


@pytest.mark.parametrize("scheme", [INT8_CHANNEL, INT4_G32], ids=lambda scheme: scheme.name)
@pytest.mark.parametrize(
    "method", [Weighted("text"), Calibrated("text")], ids=lambda each: each.record.name
)
@pytest.mark.parametrize("energy", [0.0, 1e-44, 1e-36])
def test_a_matrix_whose_inputs_were_next_to_nothing_keeps_its_weights(
    method: Method, scheme: IntegerScheme, energy: float
) -> None:
    true = MatrixRows(RandomSource(tiny_gemma3()), NAME, 0, 64).values()
    near = weights_of(Nearest(), scheme, energy)
    error = np.square(weights_of(method, scheme, energy) - true).mean()
    assert error < 3 * np.square(near - true).mean()
