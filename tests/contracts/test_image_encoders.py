"""What every lowering says of towers: none without an order for images, else what a release says of them.

Not about what a tower computes, or that its file is there: each runtime's own parity test.
"""

from __future__ import annotations

from dataclasses import replace

import pytest

from exporter.formats.table import takes_images
from exporter.lowering.interface import ImageOrder, LoweringOrder
from exporter.lowering.onnx.web_images import web_image_names
from exporter.lowering.table import lowerings_for
from exporter.models.published import published_spec
from runtimes.formats import FORMATS, Format
from runtimes.inside import is_plain_path
from runtimes.open import IMAGE_ENCODERS, IMAGE_SESSIONS
from tests.image_processing import patching
from tests.tiny_image_stores import tiny_image_store
from tests.tiny_releases import lowering_order

SOFT_TOKENS = 70


@pytest.fixture(scope="module")
def order(tmp_path_factory: pytest.TempPathFactory) -> LoweringOrder:
    directory = tmp_path_factory.mktemp("seeing")
    checkpoint = tiny_image_store(directory, "Gemma 4 E2B")
    return lowering_order(checkpoint, directory, images=ImageOrder(patching(SOFT_TOKENS)))


@pytest.mark.parametrize("form", FORMATS)
def test_towers_are_named_where_images_are_ordered(form: Format, order: LoweringOrder) -> None:
    (lowering,) = lowerings_for([form]).values()
    assert lowering.encoders(replace(order, images=None)) == ()
    encoders = lowering.encoders(order)
    assert [each.format for each in encoders] == ([form] if form in IMAGE_ENCODERS else [])
    for each in encoders:
        assert each.component == "vision"
        assert (each.soft_tokens, each.width) == (SOFT_TOKENS, 64)
        assert is_plain_path(each.path)
        assert is_plain_path(each.decoder)


@pytest.mark.parametrize("model", ["gemma-3-4b", "gemma-4-e2b", "gemma-4-31b", "gemma-4-12b"])
def test_what_is_planned_to_take_images_is_what_a_client_is_written_for(model: str) -> None:
    spec = published_spec(model)
    assert takes_images("onnx-web", spec) == (web_image_names(spec, "") is not None)
    assert all(takes_images(each, spec) for each in ("litertlm", "onnx", "coreml"))
    assert not takes_images("tflite", spec)


def test_whoever_opens_a_tower_opens_the_decoder_of_its_rows() -> None:
    assert IMAGE_ENCODERS.keys() == IMAGE_SESSIONS.keys()
