"""Estimates against figures worked out elsewhere: published cache sizes and weight counts."""

from __future__ import annotations

import math

import pytest

from exporter.models.families import read_spec
from exporter.models.spec import ModelSpec
from exporter.planning.estimates import decode_ceiling, kv_cache_bytes, memory_fit, weight_bytes_per_token
from exporter.planning.profiles import load_profile
from exporter.planning.scheme import FP16, INT4_G32, INT8_CHANNEL
from tests.tiny import tiny_gemma3

MIB = 1 << 20


def gemma3_270m() -> ModelSpec:
    """Sizes of the published model: 18 layers, every sixth one full."""
    sliding, full = "sliding_attention", "full_attention"
    return read_spec(
        tiny_gemma3()
        | {
            "vocab_size": 262144,
            "hidden_size": 640,
            "intermediate_size": 2048,
            "num_hidden_layers": 18,
            "num_attention_heads": 4,
            "num_key_value_heads": 1,
            "head_dim": 256,
            "max_position_embeddings": 32768,
            "sliding_window": 512,
            "layer_types": [full if i % 6 == 5 else sliding for i in range(18)],
        },
        "test",
    )


@pytest.mark.parametrize(("context", "mib"), [(4096, 20), (32768, 104), (131072, 392)])
def test_the_cache_of_gemma_3_270m_is_the_published_size(context: int, mib: int) -> None:
    size = kv_cache_bytes(gemma3_270m(), context, element_bytes=2, ring_buffers=True)
    assert round(size / MIB) == pytest.approx(mib, abs=1)


def test_without_ring_buffers_every_layer_pays_for_the_whole_context() -> None:
    size = kv_cache_bytes(gemma3_270m(), 4096, element_bytes=2, ring_buffers=False)
    assert size == 18 * 2 * 256 * 4096 * 2


def test_a_short_context_is_not_rounded_up_to_the_window() -> None:
    spec = gemma3_270m()
    assert kv_cache_bytes(spec, 100, element_bytes=4, ring_buffers=True) == kv_cache_bytes(
        spec, 100, element_bytes=4, ring_buffers=False
    )


def test_a_tied_embedding_is_read_whole_and_an_untied_one_by_row() -> None:
    tied = gemma3_270m()
    everything = {weight.name: FP16 for weight in tied.weights() if weight.is_matrix}
    parameters = sum(math.prod(weight.shape) for weight in tied.weights() if weight.is_matrix)
    vectors = tied.parameter_count() - parameters
    assert weight_bytes_per_token(tied, everything) == parameters * 2 + vectors * 4

    untied = read_spec(tiny_gemma3() | {"tie_word_embeddings": False}, "test")
    schemes = {weight.name: INT8_CHANNEL for weight in untied.weights() if weight.is_matrix}
    lighter = weight_bytes_per_token(untied, schemes | {untied.embedding_name: FP16})
    row = untied.hidden_size
    assert lighter - weight_bytes_per_token(untied, schemes) == row * 2 - (row + 2)


def test_speed_is_bandwidth_over_bytes_and_says_that_it_is_an_estimate() -> None:
    profile = load_profile("raspberry-pi-5")
    ceiling = decode_ceiling(profile, 170_000_000)
    assert ceiling is not None
    assert ceiling.tokens_per_second == pytest.approx(100)
    assert "estimate" in ceiling.sentence()
    assert "unverified" in ceiling.sentence()
    assert decode_ceiling(load_profile("default-web"), 170_000_000) is None


def test_four_bits_raise_the_ceiling() -> None:
    spec, profile = gemma3_270m(), load_profile("pixel-9")
    names = [weight.name for weight in spec.weights() if weight.is_matrix]
    wide = decode_ceiling(profile, weight_bytes_per_token(spec, dict.fromkeys(names, INT8_CHANNEL)))
    narrow = decode_ceiling(profile, weight_bytes_per_token(spec, dict.fromkeys(names, INT4_G32)))
    assert wide is not None
    assert narrow is not None
    assert narrow.tokens_per_second > 1.7 * wide.tokens_per_second


@pytest.mark.parametrize(
    ("artifact", "fits", "entitled", "words"),
    [
        (3_000_000_000, True, True, "fits ("),
        (3_200_000_000, False, True, "fits only with the increased-memory-limit entitlement"),
        (4_200_000_000, False, False, "does not fit"),
    ],
)
def test_memory_fits_by_what_an_app_may_use(artifact: int, fits: bool, entitled: bool, words: str) -> None:
    fit = memory_fit(load_profile("iphone-13-pro"), artifact_bytes=artifact, cache_bytes=100_000_000)
    assert (fit.fits, fit.fits_with_entitlement) == (fits, entitled)
    assert words in fit.sentence()
    assert "estimate" in fit.sentence()
    assert "phys_footprint" in fit.sentence()
