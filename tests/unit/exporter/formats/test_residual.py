from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest

from exporter.formats.coreml import COREML_STREAM
from exporter.formats.litert import LITERT_STREAM
from exporter.formats.residual import KNOWN_PEAKS, LARGEST_FP16, ScaledStream
from exporter.models.published import published_ids, published_spec

STREAMS = {"Core ML": COREML_STREAM, "LiteRT": LITERT_STREAM}
LARGEST_REPORTED = 8e5


@pytest.mark.parametrize(
    ("stream", "model", "expected"),
    [
        (COREML_STREAM, "gemma-3-270m", 0.25),
        (COREML_STREAM, "gemma-3-1b", 0.25),
        (COREML_STREAM, "gemma-3-4b", 0.0625),
        (COREML_STREAM, "gemma-2-9b", COREML_STREAM.smallest),
        (LITERT_STREAM, "gemma-3-270m", 0.125),
        (LITERT_STREAM, "gemma-3-4b", 2.0**-5),
        (LITERT_STREAM, "gemma-2-9b", LITERT_STREAM.smallest),
    ],
)
def test_the_scale_of_a_published_size(stream: ScaledStream, model: str, expected: float) -> None:
    assert stream.scale(published_spec(model)) == expected


@pytest.mark.parametrize("stream", STREAMS.values(), ids=STREAMS)
@pytest.mark.parametrize("model", published_ids())
def test_every_scale_is_a_power_of_two(model: str, stream: ScaledStream) -> None:
    scale = stream.scale(published_spec(model))
    assert math.frexp(scale)[0] == 0.5


@pytest.mark.parametrize("model", published_ids())
def test_core_ml_keeps_the_root_of_eps_a_normal_half(model: str) -> None:
    spec = published_spec(model)
    assert np.float16(math.sqrt(spec.norm_eps) * COREML_STREAM.scale(spec)) >= np.finfo(np.float16).tiny


@pytest.mark.parametrize("stream", STREAMS.values(), ids=STREAMS)
def test_known_peaks_fit_with_the_headroom_promised(stream: ScaledStream) -> None:
    spec = published_spec("gemma-3-270m")
    for (model_type, hidden), peak in KNOWN_PEAKS.items():
        known = replace(spec, model_type=model_type, hidden_size=hidden)
        headroom = LARGEST_FP16 / (peak * stream.scale(known))
        assert headroom >= (stream.headroom if stream.scale(known) > stream.smallest else 1.0)


def test_litert_holds_the_largest_peak_reported_as_it_holds_the_known_ones() -> None:
    for peak in (LARGEST_REPORTED, *KNOWN_PEAKS.values()):
        assert peak * LITERT_STREAM.smallest * LITERT_STREAM.headroom < LARGEST_FP16


def test_the_rule_for_unknown_sizes_holds_the_largest_peak_reported() -> None:
    assert LARGEST_REPORTED * COREML_STREAM.smallest < LARGEST_FP16
