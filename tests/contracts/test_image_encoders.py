"""What every lowering says of towers: none without an order for images, else what a release says of them.

Not about what a tower computes, or that its file is there: each runtime's own parity test.
"""

from __future__ import annotations

from dataclasses import replace

import pytest

from exporter.lowering.interface import ImageOrder, LoweringOrder
from exporter.lowering.table import lowerings_for
from runtimes.formats import FORMATS, Format
from runtimes.inside import is_plain_path
from runtimes.open import IMAGE_ENCODERS, MULTIMODAL_SESSIONS
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


def test_whoever_opens_a_tower_opens_the_decoder_of_its_rows() -> None:
    assert IMAGE_ENCODERS.keys() == MULTIMODAL_SESSIONS.keys()
