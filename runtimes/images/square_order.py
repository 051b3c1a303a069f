"""Patches one square after the other, for graphs that pool neighbours.

A processor has them row by row of the whole picture. Not about what a square becomes (each graph's).
"""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np

from runtimes.errors import EncoderError
from runtimes.images.prepared import PreparedImage


def in_squares(image: PreparedImage) -> PreparedImage:
    """The same picture, the patches of each soft token together, squares row by row; a picture without
    positions as it is. Raises EncoderError for one whose patches are not whole squares."""
    if image.positions is None:
        return image
    across, down = image.positions[0].T
    square = len(across) // max(1, image.soft_tokens)
    side = math.isqrt(square)
    if not side or side**2 * image.soft_tokens != len(across) or min(across.min(), down.min()) < 0:
        raise EncoderError(
            f"{len(across)} patches are not {image.soft_tokens} squares; prepare the picture with "
            "the processing of this release"
        )
    # Of keys, the last sorts first: rows of squares, squares in a row; then rows and columns in a square.
    order = np.lexsort((across, down, across // side, down // side))
    return replace(image, pixels=image.pixels[:, order], positions=image.positions[:, order])
