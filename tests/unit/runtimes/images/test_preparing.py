"""What a tower is given of a picture: pixels, positions and how many rows come of it.

Not about transformers, whose processors `tests/parity/test_image_processors.py` compares it with.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from runtimes.errors import PictureError
from runtimes.images.preparing import prepared_image, squares_within
from tests.image_processing import patching, squashing
from tests.pictures import BLUE, GREEN, RED, YELLOW, noise, plain, quadrants, ramps


def test_gemma_3_sees_a_square_from_minus_1_to_1() -> None:
    found = prepared_image(quadrants(300, 200), squashing(side=64, soft_tokens=16))
    assert found.pixels.shape == (1, 3, 64, 64)
    assert found.pixels.dtype == np.float32
    assert found.positions is None
    assert found.soft_tokens == 16
    corners = found.pixels[0][:, [0, 0, 63, 63], [0, 63, 0, 63]].T
    expected = np.array([RED, GREEN, BLUE, YELLOW]) / 127.5 - 1
    assert np.abs(corners - expected).max() < 1e-6


def test_a_picture_of_whole_squares_is_cut_as_it_is() -> None:
    pixels = ramps()
    found = prepared_image(pixels, patching(70))
    assert found.soft_tokens == 70
    assert found.positions is not None
    assert found.pixels.shape == (1, 630, 768)
    for at in (0, 31, 629):
        x, y = found.positions[0, at]
        patch = pixels[16 * y : 16 * y + 16, 16 * x : 16 * x + 16]
        assert np.array_equal(np.round(255 * found.pixels[0, at]), patch.reshape(-1))


def test_positions_are_across_and_down() -> None:
    positions = prepared_image(plain(RED, 480, 336), patching(70)).positions
    assert positions is not None
    assert positions.dtype == np.int32
    assert positions[0, [0, 1, 30, 629]].tolist() == [[0, 0], [1, 0], [0, 1], [29, 20]]


def test_merged_a_square_is_one_row() -> None:
    pixels = ramps()
    found = prepared_image(pixels, patching(70, merged=True))
    assert found.positions is not None
    assert found.pixels.shape == (1, 70, 48 * 48 * 3)
    assert found.positions[0, -1].tolist() == [9, 6]
    assert np.array_equal(np.round(255 * found.pixels[0, 69]), pixels[288:, 432:].reshape(-1))


@pytest.mark.parametrize(
    ("width", "height", "squares"),
    [
        (48, 48, (16, 16)),
        (1, 1, (16, 16)),
        (640, 480, (19, 14)),
        (2000, 60, (96, 2)),
        (20_000, 1, (280, 1)),
        (1, 20_000, (1, 280)),
    ],
)
def test_extreme_sizes_are_taken_as_transformers_takes_them(
    width: int, height: int, squares: tuple[int, int]
) -> None:
    assert squares_within(width, height, 48, 280) == squares
    found = prepared_image(noise(width, height), patching())
    assert found.soft_tokens == squares[0] * squares[1]


@pytest.mark.parametrize(("width", "height"), [(20_000, 1), (1, 20_000)])
def test_a_picture_longer_than_the_model_has_places_for_is_refused(width: int, height: int) -> None:
    processing = patching()
    assert processing.patches is not None
    ending = replace(processing, patches=replace(processing.patches, places=840))
    assert prepared_image(noise(width, height), ending).soft_tokens == 280
    shorter = replace(processing, patches=replace(processing.patches, places=839))
    with pytest.raises(
        PictureError, match="has 840 patches in a row here, and the model knows places for 839"
    ):
        prepared_image(noise(width, height), shorter)
