"""What every lowering says of towers: none without an order for them, else what a release says of them.

Not about what a tower computes, or that its file is there: each runtime's own parity test.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace

import pytest

from exporter.checkpoints.huggingface.source import HuggingFaceSource
from exporter.formats.table import takes_images, takes_sounds
from exporter.lowering.interface import ImageOrder, LoweringOrder, SoundOrder
from exporter.lowering.onnx.web_multimodal import web_multimodal_names
from exporter.lowering.table import lowerings_for
from exporter.models.published import published_spec
from runtimes.formats import FORMATS, Format
from runtimes.inside import is_plain_path
from runtimes.manifest import TowerName
from runtimes.open import IMAGE_ENCODERS, MULTIMODAL_SESSIONS, SOUND_ENCODERS
from runtimes.opening import EncoderOpening
from tests.image_processing import patching
from tests.tiny_image_stores import tiny_image_store
from tests.tiny_releases import lowering_order

SOFT_TOKENS: Mapping[TowerName, int] = {"vision": 70, "audio": 750}
HEARING = ("gemma-4-e2b", "gemma-4-12b")
OPENERS: Mapping[TowerName, Mapping[Format, Callable[[EncoderOpening], object]]] = {
    "vision": IMAGE_ENCODERS,
    "audio": SOUND_ENCODERS,
}


@pytest.fixture(scope="module")
def order(tmp_path_factory: pytest.TempPathFactory) -> LoweringOrder:
    directory = tmp_path_factory.mktemp("multimodal")
    checkpoint = tiny_image_store(directory, "Gemma 4 E2B", sound=True)
    sounds = HuggingFaceSource.open(directory / "checkpoint").sounds
    assert sounds is not None
    images = ImageOrder(patching(SOFT_TOKENS["vision"]))
    return lowering_order(checkpoint, directory, images=images, sounds=SoundOrder(sounds))


@pytest.mark.parametrize("form", FORMATS)
def test_towers_are_named_where_they_are_ordered(form: Format, order: LoweringOrder) -> None:
    (lowering,) = lowerings_for([form]).values()
    ordered: dict[TowerName, LoweringOrder] = {
        "vision": replace(order, sounds=None),
        "audio": replace(order, images=None),
    }
    assert lowering.encoders(replace(order, images=None, sounds=None)) == ()
    for tower, alone in ordered.items():
        encoders = lowering.encoders(alone)
        assert [each.component for each in encoders] == ([tower] if form in OPENERS[tower] else [])
        for each in encoders:
            assert each.format == form
            assert (each.soft_tokens, each.width) == (SOFT_TOKENS[tower], 64)
            assert is_plain_path(each.path)
            assert is_plain_path(each.decoder)
    both = {each.component: each for each in lowering.encoders(order)}
    assert both.keys() == {tower for tower in OPENERS if form in OPENERS[tower]}
    assert len({each.decoder for each in both.values()}) <= 1, "one decoder takes rows of both"


@pytest.mark.parametrize("model", ["gemma-3-4b", "gemma-4-e2b", "gemma-4-31b", "gemma-4-12b"])
def test_what_is_planned_to_take_rows_is_what_a_client_is_written_for(model: str) -> None:
    spec = published_spec(model)
    names = web_multimodal_names(spec, "")
    assert takes_images("onnx-web", spec) == (names is not None)
    if model in HEARING:
        assert takes_sounds("onnx-web", spec) == (names is not None and "audio" in names.towers)
    for takes in (takes_images, takes_sounds):
        assert all(takes(each, spec) for each in ("litertlm", "onnx", "coreml"))
        assert not takes("tflite", spec)


def test_whoever_opens_a_tower_opens_the_decoder_of_its_rows() -> None:
    for openers in OPENERS.values():
        assert openers.keys() <= MULTIMODAL_SESSIONS.keys()
    assert IMAGE_ENCODERS.keys() == MULTIMODAL_SESSIONS.keys()
