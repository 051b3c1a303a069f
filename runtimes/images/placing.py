"""Where the calls of a prompt with images begin and end, for drivers that may choose.

Not about what a call is given (each driver's), nor about drivers whose calls are of one length.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np

from runtimes.errors import SessionError
from runtimes.images.session import PlacedImage
from runtimes.session import Tokens


def calls_around(images: Sequence[PlacedImage], tokens: int, chunk: int) -> Iterator[tuple[int, int]]:
    """[start, stop) of each call: `chunk` tokens, fewer where an image would be cut, and as many as the
    image has where that is longer."""
    start = 0
    while start < tokens:
        stop = min(start + chunk, tokens)
        for image in images:
            if image.start < stop < image.stop:
                stop = image.start if image.start > start else image.stop
        yield start, stop
        start = stop


def require_placed(tokens: Tokens, images: Sequence[PlacedImage], soft: int, width: int) -> None:
    """Raise SessionError unless images, by their start, lie in the tokens, one behind the other, where the
    id `soft` stands and nowhere else, and have rows of this width."""
    expected = tokens == soft
    end = 0
    for number, image in enumerate(images):
        if image.rows.ndim != 2 or image.rows.shape[1] != width or not len(image.rows):
            raise SessionError(
                f"image {number} has rows {list(image.rows.shape)}, not [soft tokens, {width}]; "
                "encode it with the tower of this release"
            )
        if image.start < end or image.stop > len(tokens):
            raise SessionError(
                f"image {number} takes tokens {image.start} to {image.stop} of {len(tokens)}, the one "
                f"before it ends at {end}; give places within the tokens, each to one image"
            )
        if not expected[image.start : image.stop].all():
            raise SessionError(
                f"image {number} stands where tokens are not {soft}; write that id for each of its rows"
            )
        expected[image.start : image.stop] = False
        end = image.stop
    if expected.any():
        raise SessionError(
            f"token {int(np.flatnonzero(expected)[0])} is {soft}, which stands for an image, and none is "
            "there; give one, or leave the id out"
        )
