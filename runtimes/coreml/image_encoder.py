"""`CoreMlImageEncoder`: an image tower's package, run by Apple's Core ML.

Inputs and output are those of `runtimes.mil.image_encoder`: `pixels`, perhaps `positions`, `imageRows`, the
patches of a square one after the other. Not about compiling models, nor about pictures.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Protocol, Self

import numpy as np

from runtimes.coreml.session import RUNTIME, ComputeUnits, coremltools_version, load_package, placed_on
from runtimes.encoder import ArrayFacts, EncodedRows, EncoderFacts
from runtimes.errors import EncoderError
from runtimes.images.prepared import PreparedImage
from runtimes.images.square_order import in_squares
from runtimes.manifest import EncoderArtifact

PIXELS, POSITIONS, ROWS = "pixels", "positions", "imageRows"


class StatelessModel(Protocol):
    """The part of coremltools' `MLModel` that is used."""

    def predict(self, data: Mapping[str, Any]) -> Mapping[str, Any]: ...


class CoreMlImageEncoder:
    """Satisfies `ImageEncoder`. `open` makes one on macOS; tests pass a model of their own."""

    def __init__(self, model: StatelessModel, facts: EncoderFacts) -> None:
        self._model: StatelessModel | None = model
        self._facts = facts

    @classmethod
    def open(cls, path: Path, artifact: EncoderArtifact, compute_units: ComputeUnits = "ALL") -> Self:
        """Open the package at `path`, which the manifest describes as `artifact`. Raises as
        `load_package`."""
        model = load_package(path, compute_units)
        inputs = {
            given.name: ArrayFacts(
                tuple(given.type.multiArrayType.shape),
                np.dtype(np.int32 if given.name == POSITIONS else np.float16),
            )
            for given in model.get_spec().description.input
        }
        rows = ArrayFacts((1, artifact.soft_tokens, artifact.width), np.dtype(np.float32))
        return cls(
            model,
            EncoderFacts(RUNTIME, coremltools_version(), placed_on(compute_units), inputs, {ROWS: rows}),
        )

    @property
    def facts(self) -> EncoderFacts:
        """Inputs and outputs of the largest picture it takes."""
        return self._facts

    def rows(self, image: PreparedImage) -> EncodedRows:
        if self._model is None:
            raise EncoderError("the encoder is closed; open the artifact again")
        _, most, width = self._facts.outputs[ROWS].shape
        arrays = in_squares(image).arrays
        if arrays.keys() != self._facts.inputs.keys() or image.soft_tokens > most:
            raise EncoderError(
                f"a picture of {sorted(arrays)} and {image.soft_tokens} soft tokens for a tower of "
                f"{sorted(self._facts.inputs)} and {most}; prepare it with the processing of this release"
            )
        given = {name: each.astype(self._facts.inputs[name].dtype) for name, each in arrays.items()}
        found = np.asarray(self._model.predict(given)[ROWS])
        if found.shape != (1, image.soft_tokens, width):
            raise EncoderError(
                f"Core ML returned {ROWS} {list(found.shape)} of a picture of {image.soft_tokens} soft "
                "tokens; prepare it with the processing of this release"
            )
        rows: EncodedRows = found[0].astype(np.float32)
        return rows

    def close(self) -> None:
        self._model = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()
