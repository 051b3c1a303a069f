"""Core ML: windows in fp16, executed in two arithmetics by the evaluator."""

from __future__ import annotations

from dataclasses import replace

import pytest

from exporter.formats.coreml import COREML, STATE_MULTIPLE
from exporter.models.published import published_ids, published_spec
from exporter.schemes import FP32, INT8_G16, Scheme


def slots(model: str, context: int) -> tuple[int, ...]:
    spec = published_spec(model)
    return tuple(COREML.cache_slots(spec, layer, context, 128) for layer in spec.cache_layers[:6])


def test_sliding_layers_keep_their_window_alone() -> None:
    assert slots("gemma-3-1b", 4096) == (512,) * 5 + (4096,)
    assert 512 in slots("gemma-4-e2b", 4096)
    assert not COREML.has_rings(published_spec("gemma-3-1b"), 4096, 128), "no app is offered to rewind it"


@pytest.mark.parametrize("model", published_ids())
def test_states_of_a_published_model_have_multiples_of_32_and_nothing_beyond_a_window(model: str) -> None:
    """slots and head sizes; context 2048, and all there is."""
    spec = published_spec(model)
    for context in (2048, spec.context_length):
        for layer in spec.cache_layers:
            assert layer.head_dim % STATE_MULTIPLE == 0
            found = COREML.cache_slots(spec, layer, context, 128)
            assert found == min(layer.window or context, context)
            assert found % STATE_MULTIPLE == 0


@pytest.mark.parametrize(
    ("window", "context", "slots"),
    [(500, 2048, 512), (16, 64, 32), (33, 64, 64), (490, 500, 500), (8, 20, 20)],
)
def test_the_state_of_an_odd_window_is_rounded_up_within_the_context(
    window: int, context: int, slots: int
) -> None:
    spec = published_spec("gemma-3-1b")
    layer = replace(spec.layers[0], window=window)
    assert COREML.cache_slots(spec, layer, context, 128) == slots


@pytest.mark.parametrize("scheme", [FP32, INT8_G16])
def test_what_has_fp32_numbers_is_not_carried(scheme: Scheme) -> None:
    assert not COREML.carries(scheme)
    assert "fp16" in COREML.other_schemes


def test_the_graph_is_shown_right_in_fp32_and_priced_in_fp16() -> None:
    single, half = COREML.drivers
    assert (single.arithmetic, half.arithmetic) == ("fp32", "fp16")
    assert single.lowering_limit < half.lowering_limit
