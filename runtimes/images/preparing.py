"""From pixels to what a tower takes, as `ImageProcessing` says: numpy and Pillow do what transformers'
processors of Gemma 3 and 4 do with them, to the last bit.

Not about files (`picture`), nor about padding to a static graph's size, which drivers do.
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from runtimes.errors import PictureError
from runtimes.images.prepared import PreparedImage
from runtimes.images.processing import ImageProcessing, PatchProcessing, SquareProcessing

Pixels = NDArray[np.uint8]  # [height, width, rgb]
BILINEAR, BICUBIC = 2, 3  # as Pillow numbers its filters


def prepared_image(pixels: Pixels, processing: ImageProcessing) -> PreparedImage:
    """A picture of any size, of at least one pixel, as the tower of the release takes it.

    Raises PictureError for one so long that its patches have places the tower does not know.
    """
    if processing.square is not None:
        return PreparedImage(_squashed(pixels, processing.square), None, processing.soft_tokens)
    assert processing.patches is not None  # one of the two is there
    return _in_patches(pixels, processing.patches, processing.soft_tokens)


def squares_within(width: int, height: int, side: int, most: int) -> tuple[int, int]:
    """How many squares of `side` pixels across and down a picture is scaled to: `most` at most, in its
    aspect, each number rounded down but at least one. A longer aspect than `most` is squashed."""
    scale = math.sqrt(most * side**2 / (width * height))
    across, down = math.floor(scale * width / side), math.floor(scale * height / side)
    if down == 0:
        return max(1, min(width // height, most)), 1
    if across == 0:
        return 1, max(1, min(height // width, most))
    return across, down


def _squashed(pixels: Pixels, square: SquareProcessing) -> NDArray[np.float32]:
    shares = _shares(_resized(pixels, square.side, square.side, BILINEAR))
    scaled = (shares - np.array(square.mean, np.float32)) / np.array(square.std, np.float32)
    return np.ascontiguousarray(scaled.transpose(2, 0, 1)[None])


def _in_patches(pixels: Pixels, patches: PatchProcessing, soft_tokens: int) -> PreparedImage:
    height, width, _ = pixels.shape
    side = patches.patch_size * patches.kernel
    across, down = squares_within(width, height, side, soft_tokens)
    length = side if patches.merged else patches.patch_size
    rows, columns = down * side // length, across * side // length
    if patches.places is not None and max(rows, columns) > patches.places:
        raise PictureError(
            f"a picture of {width} x {height} pixels has {max(rows, columns)} patches in a row here, and "
            f"the model knows places for {patches.places}; crop it to a shape less long"
        )
    shares = _shares(_resized(pixels, across * side, down * side, BICUBIC))
    # [rows, dy, columns, dx, rgb] to [rows, columns, dy, dx, rgb]
    cut = shares.reshape(rows, length, columns, length, 3).transpose(0, 2, 1, 3, 4)
    y, x = np.mgrid[:rows, :columns].reshape(2, -1)
    return PreparedImage(
        np.ascontiguousarray(cut.reshape(1, rows * columns, length * length * 3)),
        np.stack([x, y], axis=-1)[None].astype(np.int32),
        across * down,
    )


def _resized(pixels: Pixels, width: int, height: int, by: int) -> Pixels:
    from PIL import Image

    if pixels.shape[:2] == (height, width):
        return pixels
    return np.asarray(Image.fromarray(pixels).resize((width, height), Image.Resampling(by)))


def _shares(pixels: Pixels) -> NDArray[np.float32]:
    """Of 255, rounded once."""
    return (pixels.astype(np.float64) * (1 / 255)).astype(np.float32)
