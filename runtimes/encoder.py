"""`Encoder`: a component without state, opened from one artifact; the same inputs give the same outputs.

What a tower of images or sound is to a release, beside the decoder's `Session`. Not about how inputs are
made (patches, spectra), nor about any runtime.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Protocol, Self

import numpy as np
from numpy.typing import NDArray

from runtimes.errors import EncoderError

Arrays = Mapping[str, NDArray[Any]]
EncodedRows = NDArray[np.float32]  # [soft tokens, hidden], not scaled as embeddings of tokens are


@dataclass(frozen=True)
class ArrayFacts:
    """What an array given or returned looks like."""

    shape: tuple[int, ...]
    dtype: np.dtype[Any]

    def __str__(self) -> str:
        return f"{self.dtype}{list(self.shape)}"


@dataclass(frozen=True)
class EncoderFacts:
    """What is known of an opened artifact before it has run.

    runtime, version, arithmetic: as `SessionFacts` has them. inputs, outputs: by name.
    """

    runtime: str
    version: str
    arithmetic: str
    inputs: Mapping[str, ArrayFacts]
    outputs: Mapping[str, ArrayFacts]

    def require_inputs(self, given: Arrays) -> None:
        """Raise EncoderError unless `given` are exactly the inputs, each of its shape and dtype."""
        if missing := sorted(self.inputs.keys() - given.keys()):
            raise EncoderError(f"input {missing[0]!r} is missing; give {sorted(self.inputs)}")
        if unknown := sorted(given.keys() - self.inputs.keys()):
            raise EncoderError(f"{unknown[0]!r} is not an input; give {sorted(self.inputs)}")
        for name, expected in self.inputs.items():
            found = ArrayFacts(given[name].shape, given[name].dtype)
            if found != expected:
                raise EncoderError(f"input {name!r} is {found}; give {expected}")


class Encoder(Protocol):
    """What runs a component that keeps nothing between calls, batch 1."""

    @property
    def facts(self) -> EncoderFacts: ...

    def encode(self, inputs: Arrays) -> Arrays:
        """Every array of `facts.outputs`, the caller's to keep. Raises EncoderError for inputs that are
        not those of `facts.inputs`, and once closed."""
        ...

    def close(self) -> None:
        """Release the runtime's memory. A closed encoder cannot be used again."""
        ...

    def __enter__(self) -> Self: ...

    def __exit__(self, *exc: object) -> None: ...
