"""KV caches against figures worked out elsewhere."""

from __future__ import annotations

import pytest

from exporter.formats.coreml import COREML
from exporter.formats.family import RuntimeFamily
from exporter.formats.litert import LITERT
from exporter.formats.onnx import ONNX
from exporter.formats.table import FAMILIES
from exporter.models.published import published_spec
from exporter.planning.estimates import cache_size

MIB = 1 << 20


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


@pytest.mark.parametrize("family", FAMILIES.values(), ids=FAMILIES)
def test_a_short_context_is_not_rounded_up_to_the_window(family: RuntimeFamily) -> None:
    size = cache_size(published_spec("gemma-3-270m"), 100, 100, family)
    assert size.bytes == 18 * 2 * 256 * 100 * (2 if family is COREML else 4)
    assert size.outside_windows == 0
