"""Slots per layer: windows, rings and whole contexts, by format and family."""

from __future__ import annotations

import pytest

from exporter.models.published import published_spec
from exporter.planning.caches import cache_slots, has_rings
from runtimes.manifest import FORMATS, Format

CHUNK = 128


def slots(model: str, context: int, format: Format) -> tuple[int, ...]:
    spec = published_spec(model)
    return tuple(cache_slots(spec, layer, context, CHUNK, format) for layer in spec.cache_layers[:6])


def test_gemma_3_has_windows_in_core_ml_and_rings_in_litert() -> None:
    """Five of six layers of the 1B slide over 512 positions."""
    assert slots("gemma-3-1b", 4096, "coreml") == (512,) * 5 + (4096,)
    assert slots("gemma-3-1b", 4096, "litertlm") == slots("gemma-3-1b", 4096, "tflite")
    assert slots("gemma-3-1b", 4096, "litertlm") == (512 + CHUNK,) * 5 + (4096,)
    assert slots("gemma-3-1b", 4096, "onnx") == (4096,) * 6


def test_gemma_4_is_rewound_by_litert_lm_and_kept_whole() -> None:
    assert slots("gemma-4-e2b", 4096, "litertlm") == (4096,) * 6
    assert 512 in slots("gemma-4-e2b", 4096, "coreml")


@pytest.mark.parametrize("format", FORMATS)
def test_nothing_is_longer_than_the_context(format: Format) -> None:
    assert slots("gemma-3-1b", 256, format) == (256,) * 6
    assert slots("gemma-3-1b", 600, "litertlm") == (600,) * 6, "a ring and its chunk do not fit"


def test_rings_are_litert_s_alone_and_need_a_context_longer_than_they_are() -> None:
    spec = published_spec("gemma-3-1b")
    assert {format for format in FORMATS if has_rings(spec, 4096, CHUNK, format)} == {"tflite", "litertlm"}
    assert not has_rings(spec, 640, CHUNK, "litertlm")
    assert has_rings(spec, 641, CHUNK, "litertlm")
    assert not has_rings(published_spec("gemma-2-2b"), 4096, CHUNK, "litertlm")
    assert not has_rings(published_spec("gemma-4-12b"), 4096, CHUNK, "litertlm")
