"""`MilImageEncoder`: an image tower's package behind the `ImageEncoder` interface.

Not about running it (`tower_encoder`), nor about pictures: it knows the names `pixels`, `positions` and
`imageRows` of the program, and in what order that wants patches.
"""

from __future__ import annotations

from runtimes.encoder import EncodedRows
from runtimes.images.prepared import PreparedImage
from runtimes.images.square_order import in_squares
from runtimes.mil.tower_encoder import MilTowerEncoder


class MilImageEncoder(MilTowerEncoder):
    """Satisfies `ImageEncoder`."""

    name, given = "an image tower", "a picture"
    inputs, output = ("pixels", "positions"), "imageRows"

    def rows(self, image: PreparedImage) -> EncodedRows:
        return self._rows(in_squares(image).arrays, image.soft_tokens)
