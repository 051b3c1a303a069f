"""Patches put square by square, whatever order a processor has them in."""

from __future__ import annotations

import numpy as np
import pytest

from runtimes.errors import EncoderError
from runtimes.images.prepared import PreparedImage
from runtimes.images.square_order import in_squares


def picture(across: int, down: int, soft_tokens: int) -> PreparedImage:
    """Patches that say where they are, row by row."""
    y, x = np.mgrid[:down, :across].reshape(2, -1)
    positions = np.stack([x, y], axis=-1)[None].astype(np.int32)
    return PreparedImage(positions.astype(np.float32), positions, soft_tokens)


def test_patches_of_a_square_follow_each_other_and_squares_go_row_by_row() -> None:
    image = in_squares(picture(6, 3, 2))
    assert image.positions is not None
    squares = image.positions[0].reshape(2, 9, 2) // 3
    assert squares.tolist() == [[[0, 0]] * 9, [[1, 0]] * 9]
    np.testing.assert_array_equal(image.pixels, image.positions)
    wide = in_squares(picture(6, 6, 4)).positions
    assert wide is not None
    assert (wide[0, ::9] // 3).tolist() == [[0, 0], [1, 0], [0, 1], [1, 1]]


def test_patches_that_are_squares_themselves_stay_as_they_are() -> None:
    image = picture(3, 2, 6)
    np.testing.assert_array_equal(in_squares(image).pixels, image.pixels)


def test_a_picture_without_positions_is_left_alone() -> None:
    image = PreparedImage(np.zeros((1, 3, 8, 8), np.float32), None, 4)
    assert in_squares(image) is image


def test_patches_that_make_no_squares_are_refused() -> None:
    with pytest.raises(EncoderError, match="18 patches are not 4 squares; prepare the picture"):
        in_squares(picture(6, 3, 4))
    with pytest.raises(EncoderError, match="are not 0 squares"):
        in_squares(picture(6, 3, 0))


def test_a_row_of_padding_is_refused() -> None:
    image = picture(3, 3, 1)
    assert image.positions is not None
    image.positions[0, -1] = -1
    with pytest.raises(EncoderError, match="prepare the picture"):
        in_squares(image)
