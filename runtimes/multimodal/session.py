"""`MultimodalSession`: a decoder whose prompts may hold images and sounds.

Beside `Session`, which every one of them is. Not about where rows come from (`images.prepared`,
`sounds.prepared`).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, Protocol, runtime_checkable

from runtimes.encoder import EncodedRows
from runtimes.session import Logits, Session, Tokens

RowKind = Literal["image", "sound"]


@dataclass(frozen=True)
class PlacedRows:
    """start: where in the tokens of a call its rows go, one for each position from there on. of: what they
    are rows of."""

    start: int
    rows: EncodedRows
    of: RowKind = "image"

    @property
    def stop(self) -> int:
        return self.start + len(self.rows)


@runtime_checkable
class MultimodalSession(Session, Protocol):
    """What takes rows of images and sounds in place of tokens."""

    def prefill_with_rows(self, tokens: Tokens, placed: Sequence[PlacedRows]) -> Logits:
        """As `prefill`, with rows in the places that are named; the tokens there are the id that stands
        for a row of that kind. Tokens of one image see each other as the model's layers have it: no call of
        the graph ends within one. Raises SessionError for rows that do not lie in the tokens, overlap
        others, are of a kind the decoder does not take, or of an image longer than one call can be."""
        ...
