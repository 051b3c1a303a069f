"""`CoreMlImageEncoder`: an image tower's package, run by Apple's Core ML.

Inputs and output are those of `runtimes.mil.image_encoder`: `pixels`, perhaps `positions`, `imageRows`, the
patches of a square one after the other. Not about running it (`tower_encoder`), nor about pictures.
"""

from __future__ import annotations

from runtimes.coreml.tower_encoder import CoreMlTowerEncoder
from runtimes.encoder import EncodedRows
from runtimes.images.prepared import PreparedImage
from runtimes.images.square_order import in_squares


class CoreMlImageEncoder(CoreMlTowerEncoder):
    """Satisfies `ImageEncoder`."""

    name, given = "an image tower", "a picture"
    whole, output = frozenset({"positions"}), "imageRows"

    def rows(self, image: PreparedImage) -> EncodedRows:
        return self._rows(in_squares(image).arrays, image.soft_tokens)
