"""One call of a decoder that takes embeddings: what stands where an image is, for drivers that merge rows
themselves.

Not about where calls begin and end (`placing`), nor about any runtime.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from runtimes.images.session import PlacedImage
from runtimes.session import Tokens


@dataclass(frozen=True)
class EmbeddedCall:
    """ids: of the call's tokens. images: those in it, placed from its first token on."""

    ids: Tokens
    images: tuple[PlacedImage, ...] = ()

    @classmethod
    def part(cls, ids: Tokens, images: Sequence[PlacedImage], start: int, stop: int) -> EmbeddedCall:
        """The call of tokens start to stop, which cut no image."""
        inside = (image for image in images if start <= image.start < stop)
        return cls(ids[start:stop], tuple(replace(image, start=image.start - start) for image in inside))

    @property
    def looked_up(self) -> Tokens:
        """Ids to look up: 0 where an image stands, whose per-layer rows those are."""
        ids = self.ids.copy()
        for image in self.images:
            ids[image.start : image.stop] = 0
        return ids

    def merged(self, embedded: NDArray[np.floating]) -> NDArray[np.floating]:
        """Embeddings [1, tokens, hidden] of `looked_up` with the images' rows in their places."""
        merged = embedded.copy()
        for image in self.images:
            merged[0, image.start : image.stop] = image.rows
        return merged

    def blocks(self, past: int) -> NDArray[np.int32]:
        """[1, past + tokens]: 0 for text and all that was before, n for the call's n-th image."""
        numbers = np.zeros((1, past + len(self.ids)), np.int32)
        for number, image in enumerate(self.images, 1):
            numbers[0, past + image.start : past + image.stop] = number
        return numbers
