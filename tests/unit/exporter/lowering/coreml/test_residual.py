from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest

from exporter.lowering.coreml.residual import KNOWN_PEAKS, LARGEST_FP16, SMALLEST, residual_scale
from exporter.models.published import published_ids, published_spec


@pytest.mark.parametrize(
    ("model", "expected"),
    [("gemma-3-270m", 0.25), ("gemma-3-1b", 0.25), ("gemma-3-4b", 0.0625), ("gemma-2-9b", SMALLEST)],
)
def test_the_scale_of_a_published_size(model: str, expected: float) -> None:
    assert residual_scale(published_spec(model)) == expected


@pytest.mark.parametrize("model", published_ids())
def test_every_scale_is_a_power_of_two_that_keeps_the_root_of_eps_a_normal_half(model: str) -> None:
    spec = published_spec(model)
    scale = residual_scale(spec)
    assert math.frexp(scale)[0] == 0.5
    assert np.float16(math.sqrt(spec.norm_eps) * scale) >= np.finfo(np.float16).tiny


def test_known_peaks_fit_with_room_to_spare() -> None:
    spec = published_spec("gemma-3-270m")
    for (model_type, hidden), peak in KNOWN_PEAKS.items():
        known = replace(spec, model_type=model_type, hidden_size=hidden)
        assert peak * residual_scale(known) < LARGEST_FP16


def test_the_rule_for_unknown_sizes_holds_the_largest_peak_reported() -> None:
    assert 8e5 * SMALLEST < LARGEST_FP16
