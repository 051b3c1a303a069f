"""`ImageSession`: a decoder whose prompts may hold images.

Beside `Session`, which every one of them is. Not about where rows come from (`prepared`).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol, runtime_checkable

from runtimes.images.prepared import ImageRows
from runtimes.session import Logits, Session, Tokens


@dataclass(frozen=True)
class PlacedImage:
    """start: where in the tokens of a call its rows go, one for each position from there on."""

    start: int
    rows: ImageRows

    @property
    def stop(self) -> int:
        return self.start + len(self.rows)


@runtime_checkable
class ImageSession(Session, Protocol):
    """What takes rows of images in place of tokens."""

    def prefill_with_images(self, tokens: Tokens, images: Sequence[PlacedImage]) -> Logits:
        """As `prefill`, with rows in the places that images name; the tokens there are the id that stands
        for a row. Tokens of one image see each other as the model's layers have it: no call of the graph
        ends within one. Raises SessionError for an image that does not lie in the tokens, overlaps another,
        or is longer than one call can be."""
        ...
