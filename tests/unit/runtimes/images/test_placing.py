"""Where calls of a prompt with images end, and which places of images are refused."""

from __future__ import annotations

import re

import numpy as np
import pytest

from runtimes.errors import SessionError
from runtimes.images.placing import calls_around, require_placed
from runtimes.images.session import PlacedImage

SOFT, WIDTH = 9, 2


def image(start: int, rows: int, width: int = WIDTH) -> PlacedImage:
    return PlacedImage(start, np.zeros((rows, width), np.float32))


@pytest.mark.parametrize(
    ("images", "calls"),
    [
        ([], [(0, 4), (4, 8), (8, 10)]),
        ([image(1, 3)], [(0, 4), (4, 8), (8, 10)]),
        ([image(3, 3)], [(0, 3), (3, 7), (7, 10)]),
        ([image(2, 6)], [(0, 2), (2, 8), (8, 10)]),
        ([image(0, 6), image(6, 3)], [(0, 6), (6, 10)]),
    ],
)
def test_no_call_ends_within_an_image(images: list[PlacedImage], calls: list[tuple[int, int]]) -> None:
    assert list(calls_around(images, 10, chunk=4)) == calls


def test_images_where_their_id_stands_are_taken() -> None:
    require_placed(np.array([1, SOFT, SOFT, 2, SOFT]), [image(1, 2), image(4, 1)], SOFT, WIDTH)


@pytest.mark.parametrize(
    ("images", "said"),
    [
        ([image(1, 2)], "token 4 is 9, which stands for an image, and none is there"),
        ([image(0, 2), image(4, 1)], "image 0 stands where tokens are not 9"),
        ([image(1, 2), image(2, 3)], "image 1 takes tokens 2 to 5 of 5, the one before it ends at 3"),
        ([image(1, 2), image(4, 2)], "image 1 takes tokens 4 to 6 of 5"),
        ([image(-1, 2)], "image 0 takes tokens -1 to 1 of 5"),
        ([image(1, 2, width=3), image(4, 1)], "image 0 has rows [2, 3], not [soft tokens, 2]"),
        ([image(1, 0)], "image 0 has rows [0, 2]"),
    ],
)
def test_places_that_are_no_images_are_refused(images: list[PlacedImage], said: str) -> None:
    with pytest.raises(SessionError, match=re.escape(said)):
        require_placed(np.array([1, SOFT, SOFT, 2, SOFT]), images, SOFT, WIDTH)
