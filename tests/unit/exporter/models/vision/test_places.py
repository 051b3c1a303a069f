"""Places of a picture's patches: no picture has more than are counted, and a short table's end is said."""

from __future__ import annotations

from dataclasses import replace

import pytest

from exporter.models.vision.places import known_places, places_in_a_row, with_soft_tokens
from exporter.models.vision.spec import SOFT_TOKENS
from runtimes.images.preparing import squares_within
from tests.image_processing import patching, squashing
from tests.tiny_towers import tiny_patch_embedder, tiny_patch_tower, tiny_siglip


@pytest.mark.parametrize("soft_tokens", SOFT_TOKENS)
@pytest.mark.parametrize("size", [(20_000, 1), (1, 20_000), (4000, 30)])
def test_no_picture_has_more_places_than_are_counted(size: tuple[int, int], soft_tokens: int) -> None:
    longest = max(squares_within(*size, side=48, most=soft_tokens))
    assert longest <= places_in_a_row(tiny_patch_embedder().spec, soft_tokens)
    assert 3 * longest <= places_in_a_row(tiny_patch_tower().spec, soft_tokens)


def test_the_end_of_a_table_is_said_only_where_a_picture_can_go_beyond_it() -> None:
    spec = tiny_patch_tower().spec  # 256 places
    assert known_places(spec, 70) == 210
    assert known_places(spec, 280) == 256
    for soft_tokens, places in ((70, None), (280, 256)):
        said = with_soft_tokens(patching(140), spec, soft_tokens)
        assert said.soft_tokens == soft_tokens
        assert said.patches is not None
        assert said.patches.places == places
    assert with_soft_tokens(patching(280, merged=True), tiny_patch_embedder().spec, 280) == patching(
        280, merged=True
    )


def test_pictures_of_one_size_have_no_such_end() -> None:
    spec = tiny_siglip().spec
    assert with_soft_tokens(squashing(), spec, squashing().soft_tokens) == squashing()
    assert replace(squashing(), soft_tokens=4) == with_soft_tokens(squashing(), spec, 4)
