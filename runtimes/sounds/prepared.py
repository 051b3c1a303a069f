"""`PreparedSound`: what a processor makes of a sound, and `SoundEncoder`: what makes rows of it.

Every driver of an audio encoder takes the first and gives the same rows, whatever its graph's inputs are
called and however long they are. Not about reading sound files.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol, Self

import numpy as np
from numpy.typing import NDArray

from runtimes.encoder import EncodedRows, EncoderFacts


@dataclass(frozen=True)
class PreparedSound:
    """features: float32; of E2B and E4B log mel spectra [1, frames, bands], of the 12B samples
    [1, soft tokens, samples]; no frame of padding. soft_tokens: rows that come of it."""

    features: NDArray[np.float32]
    soft_tokens: int


class SoundEncoder(Protocol):
    """An audio encoder, opened from one artifact; the same sound gives the same rows."""

    @property
    def facts(self) -> EncoderFacts: ...

    def rows(self, sound: PreparedSound) -> EncodedRows:
        """Raises EncoderError for a sound of another kind or of more soft tokens than it makes."""
        ...

    def close(self) -> None: ...

    def __enter__(self) -> Self: ...

    def __exit__(self, *exc: object) -> None: ...
