"""LiteRT: rings where nothing rewinds them, and what it cannot carry."""

from __future__ import annotations

import ast
import re

import pytest

from exporter.formats.family import Prompting
from exporter.formats.litert import LITERT
from exporter.formats.table import facts_of
from exporter.models.published import published_spec
from exporter.schemes import SCHEMES
from runtimes.manifest import Artifact

CHUNK = 128


def slots(model: str, context: int) -> tuple[int, ...]:
    spec = published_spec(model)
    return tuple(LITERT.cache_slots(spec, layer, context, CHUNK) for layer in spec.cache_layers[:6])


def test_gemma_3_has_rings_of_a_window_and_a_chunk() -> None:
    """Five of six layers of the 1B slide over 512 positions."""
    assert slots("gemma-3-1b", 4096) == (512 + CHUNK,) * 5 + (4096,)
    assert slots("gemma-3-1b", 600) == (600,) * 6, "a ring and its chunk do not fit"


def test_gemma_4_is_rewound_and_kept_whole() -> None:
    assert slots("gemma-4-e2b", 4096) == (4096,) * 6


def test_rings_need_a_context_longer_than_they_are() -> None:
    spec = published_spec("gemma-3-1b")
    assert not LITERT.has_rings(spec, 640, CHUNK)
    assert LITERT.has_rings(spec, 641, CHUNK)
    assert not LITERT.has_rings(published_spec("gemma-2-2b"), 4096, CHUNK)
    assert not LITERT.has_rings(published_spec("gemma-4-12b"), 4096, CHUNK)


@pytest.mark.parametrize("name", ["int8-g32", "int8-g16"])
def test_it_carries_no_groups_of_8_bits(name: str) -> None:
    assert not LITERT.carries(SCHEMES[name])
    assert "8-bit codes in groups" in LITERT.other_schemes


def test_only_the_bundle_needs_the_bundles_builder() -> None:
    assert "litert-lm-builder" in facts_of("litertlm").packages
    assert "litert-lm-builder" not in facts_of("tflite").packages


def test_the_python_that_is_said_to_run_a_graph_is_python() -> None:
    graph = Artifact("text", "tflite", "model.tflite", 2048, 262144, 128, "none")
    text = facts_of("tflite").how_to_run(graph, Prompting("<bos>", chat=False))
    (code,) = re.findall(r"```python\n(.*?)```", text, re.DOTALL)
    ast.parse(code)
    assert "`prefill_128`" in text


@pytest.mark.parametrize("chat", [True, False])
def test_a_base_model_is_not_talked_to(chat: bool) -> None:
    bundle = Artifact("text", "litertlm", "model.litertlm", 2048, 262144, 128, "none")
    text = facts_of("litertlm").how_to_run(bundle, Prompting("<bos>", chat))
    assert ("--no-template" in text) == (not chat)
