"""Core ML: windows in fp16, executed in two arithmetics by the evaluator."""

from __future__ import annotations

import pytest

from exporter.formats.coreml import COREML
from exporter.formats.table import FAMILIES
from exporter.models.published import published_spec
from exporter.schemes import FP32, INT8_G16, Scheme


def slots(model: str, context: int) -> tuple[int, ...]:
    spec = published_spec(model)
    return tuple(COREML.cache_slots(spec, layer, context, 128) for layer in spec.cache_layers[:6])


def test_sliding_layers_keep_their_window_alone() -> None:
    assert slots("gemma-3-1b", 4096) == (512,) * 5 + (4096,)
    assert 512 in slots("gemma-4-e2b", 4096)
    assert not COREML.has_rings(published_spec("gemma-3-1b"), 4096, 128), "no app is offered to rewind it"


@pytest.mark.parametrize("scheme", [FP32, INT8_G16])
def test_what_has_fp32_numbers_is_not_carried(scheme: Scheme) -> None:
    assert not COREML.carries(scheme)
    assert "fp16" in COREML.other_schemes


def test_the_graph_is_shown_right_in_fp32_and_priced_in_fp16() -> None:
    single, half = COREML.drivers
    assert (single.arithmetic, half.arithmetic) == ("fp32", "fp16")
    assert single.lowering_limit < half.lowering_limit


def test_it_alone_is_recorded_for_a_device_to_replay() -> None:
    assert [family.name for family in FAMILIES.values() if family.replayed] == ["coreml"]
