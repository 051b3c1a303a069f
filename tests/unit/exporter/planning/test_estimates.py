"""Estimates against figures worked out elsewhere: published cache sizes and weight counts."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest

from exporter.formats.coreml import COREML
from exporter.formats.family import RuntimeFamily
from exporter.formats.litert import LITERT
from exporter.formats.onnx import ONNX
from exporter.formats.table import FAMILIES
from exporter.models.components import text_alone
from exporter.models.published import published_spec
from exporter.models.text.families import read_spec
from exporter.models.text.spec import ModelSpec
from exporter.planning.estimates import (
    cache_size,
    decode_ceiling,
    device_estimates,
    memory_fit,
    weight_bytes_per_token,
)
from exporter.planning.plan import make_plan
from exporter.planning.profiles import load_profile
from exporter.schemes import FP16, INT4_G32, INT8_CHANNEL
from runtimes.formats import Format
from tests.jobs import a_variant
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


# MiB in fp16 at 4k, 32k and 128k positions, worked out by hand from the published configurations.
CACHE_MIB = {
    "gemma-2-2b": (416, 1872, 6864),
    "gemma-2-9b": (1344, 6048, 22176),
    "gemma-3-270m": (20, 104, 392),
    "gemma-3-1b": (27, 139, 523),
    "gemma-3-4b": (196, 756, 2676),
    "gemma-3-12b": (576, 2368, 8512),
    "gemma-4-e2b": (30, 198, 774),
    "gemma-4-e4b": (84, 532, 2068),
    "gemma-4-12b": (384, 832, 2368),
    "gemma-4-31b": (1120, 3360, 11040),
}


@pytest.mark.parametrize("model_id", CACHE_MIB)
@pytest.mark.parametrize(("context", "column"), [(4096, 0), (32768, 1), (131072, 2)])
def test_the_cache_of_a_published_model_is_what_its_windows_need(
    model_id: str, context: int, column: int
) -> None:
    """Whatever its own context allows: the sizes are those of the layers."""
    size = cache_size(published_spec(model_id), context, 128, COREML)
    assert size.bytes / MIB == pytest.approx(CACHE_MIB[model_id][column], abs=0.5)
    assert size.outside_windows == 0


def test_a_runtime_of_one_cache_length_pays_for_what_no_token_looks_at() -> None:
    """Gemma 3 1B at 32k positions: 22 of its 26 layers slide over 512."""
    size = cache_size(published_spec("gemma-3-1b"), 32768, 128, ONNX)
    assert size.bytes == 26 * 2 * 256 * 32768 * 4
    assert size.outside_windows == 22 * 2 * 256 * (32768 - 512) * 4
    assert cache_size(published_spec("gemma-2-2b"), 4096, 128, ONNX).outside_windows == 0


def test_a_ring_pays_for_a_prefill_chunk_beside_its_window() -> None:
    size = cache_size(published_spec("gemma-3-1b"), 32768, 128, LITERT)
    assert size.bytes == 2 * 256 * 4 * (4 * 32768 + 22 * (512 + 128))
    assert size.outside_windows == 22 * 2 * 256 * 128 * 4


def test_what_is_rewound_is_kept_whole() -> None:
    spec = published_spec("gemma-4-e2b")
    assert cache_size(spec, 4096, 128, LITERT) == cache_size(spec, 4096, 128, ONNX)


def test_a_devices_memory_counts_the_cache_of_the_format() -> None:
    spec, profile = published_spec("gemma-3-1b"), load_profile("iphone-13-pro")
    plan = make_plan(text_alone(spec), a_variant("int8", ("coreml",), 32768, "ios"), {})
    (sentence, *_) = device_estimates(spec, plan, [profile], {"coreml": 10**9})
    assert "146 MB of KV cache" in sentence, "139 MiB"


def test_a_matrix_larger_than_a_gpu_s_buffer_is_named() -> None:
    spec, web = gemma3_270m(), load_profile("default-web")
    plan = make_plan(text_alone(spec), a_variant("int8", ("onnx-web",), 2048, "web"), {})
    (beyond,) = [each for each in device_estimates(spec, plan, [web], {"onnx-web": 1}) if "buffer" in each]
    assert "onnx-web on default-web: model.embed_tokens.weight takes 168,296,448 bytes" in beyond
    assert "a buffer 134,217,728 at most" in beyond
    desktop = load_profile("default-desktop")
    assert not [each for each in device_estimates(spec, plan, [desktop], {"onnx": 1}) if "buffer" in each]


@pytest.mark.parametrize(("format", "named"), [("litertlm", False), ("tflite", True)])
def test_a_table_outside_the_graph_a_gpu_is_given_asks_for_no_buffer(format: Format, named: bool) -> None:
    spec, phone = published_spec("gemma-4-e2b"), load_profile("galaxy-s25")
    on_gpu = replace(phone.accelerators, by_format={"litertlm": "GPU", "tflite": "GPU"})
    phone = replace(phone, formats=(format,), accelerators=on_gpu)
    plan = make_plan(text_alone(spec), a_variant("int8", (format,), 2048, "android"), {})
    sentences = device_estimates(spec, plan, [phone], {format: 1})
    assert any("embed_tokens_per_layer" in each and "1,073,741,824" in each for each in sentences) == named


@pytest.mark.parametrize("family", FAMILIES.values(), ids=FAMILIES)
def test_a_short_context_is_not_rounded_up_to_the_window(family: RuntimeFamily) -> None:
    size = cache_size(gemma3_270m(), 100, 100, family)
    assert size.bytes == 18 * 2 * 256 * 100 * (2 if family is COREML else 4)
    assert size.outside_windows == 0


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
