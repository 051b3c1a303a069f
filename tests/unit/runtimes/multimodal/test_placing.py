"""Where calls of a prompt with images and sounds end, and which places of theirs are refused."""

from __future__ import annotations

import re

import numpy as np
import pytest

from runtimes.errors import SessionError
from runtimes.multimodal.placing import SoftTokens, calls_around, require_placed
from runtimes.multimodal.session import PlacedRows

SOFT, HEARD, WIDTH = 9, 8, 2


def image(start: int, rows: int, width: int = WIDTH) -> PlacedRows:
    return PlacedRows(start, np.zeros((rows, width), np.float32))


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
def test_no_call_ends_within_an_image(images: list[PlacedRows], calls: list[tuple[int, int]]) -> None:
    assert list(calls_around(images, 10, chunk=4)) == calls


def test_images_where_their_id_stands_are_taken() -> None:
    require_placed(np.array([1, SOFT, SOFT, 2, SOFT]), [image(1, 2), image(4, 1)], {"image": SOFT}, WIDTH)


@pytest.mark.parametrize(
    ("images", "said"),
    [
        ([image(1, 2)], "token 4 is 9, which stands for one row of an image, and none is there"),
        ([image(0, 2), image(4, 1)], "image 0 stands where tokens are not 9"),
        ([image(1, 2), image(2, 3)], "image 1 takes tokens 2 to 5 of 5, the one before it ends at 3"),
        ([image(1, 2), image(4, 2)], "image 1 takes tokens 4 to 6 of 5"),
        ([image(-1, 2)], "image 0 takes tokens -1 to 1 of 5"),
        ([image(1, 2, width=3), image(4, 1)], "image 0 has rows [2, 3], not [soft tokens, 2]"),
        ([image(1, 0)], "image 0 has rows [0, 2]"),
    ],
)
def test_places_that_are_no_images_are_refused(images: list[PlacedRows], said: str) -> None:
    with pytest.raises(SessionError, match=re.escape(said)):
        require_placed(np.array([1, SOFT, SOFT, 2, SOFT]), images, {"image": SOFT}, WIDTH)


def sound(start: int, rows: int) -> PlacedRows:
    return PlacedRows(start, np.zeros((rows, WIDTH), np.float32), "sound")


def test_sounds_are_cut_as_text_is() -> None:
    assert list(calls_around([sound(3, 6)], 10, chunk=4)) == [(0, 4), (4, 8), (8, 10)]


def test_images_and_sounds_each_stand_at_their_own_id() -> None:
    tokens = np.array([1, SOFT, HEARD, HEARD])
    both: SoftTokens = {"image": SOFT, "sound": HEARD}
    require_placed(tokens, [image(1, 1), sound(2, 2)], both, WIDTH)
    with pytest.raises(SessionError, match="sound 0 stands where tokens are not 8"):
        require_placed(tokens, [sound(1, 1), sound(2, 2)], both, WIDTH)
    with pytest.raises(SessionError, match="token 2 is 8, which stands for one row of a sound, and none"):
        require_placed(tokens, [image(1, 1)], both, WIDTH)


def test_a_decoder_that_takes_no_sounds_says_so() -> None:
    with pytest.raises(SessionError, match="sound 0: this decoder takes no sounds; leave it out"):
        require_placed(np.array([1, 2]), [sound(0, 1)], {"image": SOFT}, WIDTH)
