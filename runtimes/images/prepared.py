"""`PreparedImage`: what a processor makes of a picture, and `ImageEncoder`: what makes rows of it.

Every driver of an image tower takes the first and gives the same rows, whatever its graph's inputs are
called and in whatever order they are. Not about reading pictures.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Protocol, Self

import numpy as np
from numpy.typing import NDArray

from runtimes.encoder import EncodedRows, EncoderFacts


@dataclass(frozen=True)
class PreparedImage:
    """pixels: float32; of Gemma 3 [1, 3, side, side] in [-1, 1], of Gemma 4 [1, patches, numbers in each]
    in [0, 1], no row of padding. positions: int32 [1, patches, 2], x and y of each patch; None for Gemma 3.
    soft_tokens: rows that come of it."""

    pixels: NDArray[np.float32]
    positions: NDArray[np.int32] | None
    soft_tokens: int

    @property
    def arrays(self) -> dict[str, NDArray[Any]]:
        """By the names that towers call them."""
        found: dict[str, NDArray[Any]] = {"pixels": self.pixels}
        return found if self.positions is None else found | {"positions": self.positions}


class ImageEncoder(Protocol):
    """An image tower, opened from one artifact; the same picture gives the same rows."""

    @property
    def facts(self) -> EncoderFacts: ...

    def rows(self, image: PreparedImage) -> EncodedRows:
        """Raises EncoderError for a picture of another kind or of more soft tokens than it makes."""
        ...

    def close(self) -> None: ...

    def __enter__(self) -> Self: ...

    def __exit__(self, *exc: object) -> None: ...
