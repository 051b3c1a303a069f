"""Decode speed: bytes of a token over bandwidth, as an interval below a ceiling."""

from __future__ import annotations

import math

import pytest

from exporter.models.published import published_spec
from exporter.models.text.families import read_spec
from exporter.planning.decode_speed import EFFICIENCY, decode_speed, weight_bytes_per_token
from exporter.planning.profiles import load_profile
from exporter.schemes import FP16, INT4_G32, INT8_CHANNEL
from tests.tiny import tiny_gemma3


def test_a_tied_embedding_is_read_whole_and_an_untied_one_by_row() -> None:
    tied = published_spec("gemma-3-270m")
    everything = {weight.name: FP16 for weight in tied.weights() if weight.is_matrix}
    parameters = sum(math.prod(weight.shape) for weight in tied.weights() if weight.is_matrix)
    vectors = tied.parameter_count() - parameters
    assert weight_bytes_per_token(tied, everything) == parameters * 2 + vectors * 4

    untied = read_spec(tiny_gemma3() | {"tie_word_embeddings": False}, "test")
    schemes = {weight.name: INT8_CHANNEL for weight in untied.weights() if weight.is_matrix}
    lighter = weight_bytes_per_token(untied, schemes | {untied.embedding_name: FP16})
    row = untied.hidden_size
    assert lighter - weight_bytes_per_token(untied, schemes) == row * 2 - (row + 2)


def test_speed_is_bandwidth_over_bytes_and_the_interval_lies_below_it() -> None:
    bandwidth = load_profile("raspberry-pi-5").bandwidth
    found = decode_speed(bandwidth, "CPU", 170_000_000, 0)
    assert found is not None
    low, high = EFFICIENCY["CPU"]
    assert (found.low, found.high, found.ceiling) == pytest.approx((100 * low, 100 * high, 100))
    assert found.sourced
    assert decode_speed(load_profile("default-web").bandwidth, "GPU", 170_000_000, 0) is None


def test_the_lower_end_reads_the_whole_cache_and_the_ceiling_none() -> None:
    bandwidth = load_profile("pixel-9").bandwidth
    empty, full = (decode_speed(bandwidth, "GPU", 10**9, cache) for cache in (0, 10**9))
    assert empty is not None
    assert full is not None
    assert full.low == pytest.approx(empty.low / 2)
    assert (full.high, full.ceiling) == (empty.high, empty.ceiling)
    assert not full.sourced


def test_four_bits_raise_the_ceiling() -> None:
    spec, bandwidth = published_spec("gemma-3-270m"), load_profile("pixel-9").bandwidth
    names = [weight.name for weight in spec.weights() if weight.is_matrix]
    wide = decode_speed(
        bandwidth, "CPU", weight_bytes_per_token(spec, dict.fromkeys(names, INT8_CHANNEL)), 0
    )
    narrow = decode_speed(bandwidth, "CPU", weight_bytes_per_token(spec, dict.fromkeys(names, INT4_G32)), 0)
    assert wide is not None
    assert narrow is not None
    assert narrow.ceiling > 1.7 * wide.ceiling


def test_every_accelerator_has_an_interval_below_one() -> None:
    assert set(EFFICIENCY) == {"CPU", "GPU", "NPU"}
    assert all(0 < low < high < 1 for low, high in EFFICIENCY.values())
