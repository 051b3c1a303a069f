"""Pictures that would go beyond a tower's position tables are refused before there is a release."""

from __future__ import annotations

from dataclasses import replace

import pytest

from exporter.errors import SpecError
from exporter.models.vision.places import places_in_a_row, require_places
from exporter.models.vision.spec import SOFT_TOKENS, PatchEmbedderSpec, PatchTowerSpec, SiglipSpec
from runtimes.images.preparing import squares_within
from tests.tiny_towers import TinyTower, tiny_patch_embedder, tiny_patch_tower, tiny_siglip


def with_places(tower: TinyTower, positions: int) -> PatchTowerSpec | PatchEmbedderSpec:
    assert not isinstance(tower.spec, SiglipSpec)
    return replace(tower.spec, positions=positions)


@pytest.mark.parametrize("soft_tokens", SOFT_TOKENS)
@pytest.mark.parametrize("size", [(20_000, 1), (1, 20_000), (4000, 30)])
def test_no_picture_has_more_places_than_are_counted(size: tuple[int, int], soft_tokens: int) -> None:
    across, down = squares_within(*size, side=48, most=soft_tokens)
    longest = max(across, down)
    assert longest <= places_in_a_row(tiny_patch_embedder().spec, soft_tokens)
    assert 3 * longest <= places_in_a_row(tiny_patch_tower().spec, soft_tokens)


def test_a_table_that_just_holds_them_is_taken_and_a_shorter_one_refused() -> None:
    require_places(with_places(tiny_patch_tower(), 840), 280, "tiny")
    with pytest.raises(SpecError, match="is 839, and a picture of 280 soft tokens may have 840") as caught:
        require_places(with_places(tiny_patch_tower(), 839), 280, "tiny")
    assert caught.value.where == "config.json of tiny: vision_config.position_embedding_size"
    assert "--image-tokens 70 or 140, or leave images out with" in caught.value.then


def test_a_table_for_no_budget_at_all_leaves_text_alone() -> None:
    with pytest.raises(SpecError, match="mm_posemb_size: is 69") as caught:
        require_places(with_places(tiny_patch_embedder(), 69), 70, "tiny")
    assert caught.value.then == "leave images out with --components text"


def test_what_takes_no_images_or_squares_alone_has_no_such_limit() -> None:
    require_places(tiny_patch_tower().spec, None, "tiny")
    require_places(tiny_siglip().spec, 4, "tiny")
