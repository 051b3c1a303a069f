"""One call of a decoder that takes embeddings: what stands where an image or a sound is, for drivers that
merge rows themselves.

Not about where calls begin and end (`placing`), nor about any runtime.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from runtimes.multimodal.placing import rows_within
from runtimes.multimodal.session import PlacedRows
from runtimes.session import Tokens


@dataclass(frozen=True)
class EmbeddedCall:
    """ids: of the call's tokens. placed: the rows in it, from its first token on."""

    ids: Tokens
    placed: tuple[PlacedRows, ...] = ()

    @classmethod
    def part(cls, ids: Tokens, placed: Sequence[PlacedRows], start: int, stop: int) -> EmbeddedCall:
        """The call of tokens start to stop, which cut no image."""
        return cls(ids[start:stop], rows_within(placed, start, stop))

    @property
    def looked_up(self) -> Tokens:
        """Ids to look up: 0 where rows stand, whose per-layer rows those are."""
        ids = self.ids.copy()
        for each in self.placed:
            ids[each.start : each.stop] = 0
        return ids

    def merged(self, embedded: NDArray[np.floating]) -> NDArray[np.floating]:
        """Embeddings [1, tokens, hidden] of `looked_up` with the rows in their places."""
        merged = embedded.copy()
        for each in self.placed:
            merged[0, each.start : each.stop] = each.rows
        return merged

    def blocks(self, past: int) -> NDArray[np.int32]:
        """[1, past + tokens]: 0 for text, for sounds and for all that was before, n for the call's n-th
        image."""
        numbers = np.zeros((1, past + len(self.ids)), np.int32)
        images = (each for each in self.placed if each.of == "image")
        for number, image in enumerate(images, 1):
            numbers[0, past + image.start : past + image.stop] = number
        return numbers
