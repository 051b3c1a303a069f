"""How much more than predicted an artifact may take: the worst that was measured, or what is presumed."""

from __future__ import annotations

from dataclasses import replace

import pytest

from exporter.formats.held_memory import Metric
from exporter.planning.measured_memory import MOST_OFF, measured_memory
from exporter.planning.prediction_error import PRESUMED, PredictionError, prediction_error, worst_of
from runtimes.formats import Accelerator, Format
from tests.unit.exporter.planning.test_measured_memory import measured


@pytest.mark.parametrize("format", ["litertlm", "onnx"])
def test_no_measured_peak_is_above_its_prediction_with_the_error(format: Format) -> None:
    found = prediction_error(format, "CPU", "ru_maxrss")
    assert found.measured
    above = [1 / (1 + each.off) for each in measured_memory() if each.format == format]
    assert max(above) <= 1 + found.share < max(above) + 0.001


def test_the_error_is_of_predictions_that_were_too_low_and_of_what_a_metric_counts() -> None:
    low, high = measured(-0.04), measured(0.30, context=4096)
    assert worst_of((low, high), "ru_maxrss").share == pytest.approx(0.042)
    assert worst_of((high,), "ru_maxrss") == PredictionError(0.0, measured=True)
    assert worst_of((replace(low, anonymous_mb=3000),), "phys_footprint").share > 5, "298 MB are predicted"


@pytest.mark.parametrize(
    ("format", "accelerator", "metric"),
    [
        ("coreml", "NPU", "phys_footprint"),
        ("coreml", "CPU", "phys_footprint"),
        ("litertlm", "GPU", "ru_maxrss"),
        ("onnx", "GPU", "gpu_memory"),
        ("onnx-web", "CPU", "wasm_memory"),
    ],
)
def test_of_what_nobody_measured_a_default_is_presumed_and_said(
    format: Format, accelerator: Accelerator, metric: Metric
) -> None:
    assert prediction_error(format, accelerator, metric) == PRESUMED == PredictionError(MOST_OFF, False)
    assert PRESUMED.in_words == "15 % kept free, as no such peak was measured"
