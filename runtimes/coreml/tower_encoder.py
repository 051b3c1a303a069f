"""`CoreMlTowerEncoder`: a tower's package run by Apple's Core ML.

What drivers of image towers and of audio encoders have in common. Not about compiling models,
nor about what a picture or a sound is made into.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, ClassVar, Protocol, Self

import numpy as np

from runtimes.coreml.session import RUNTIME, ComputeUnits, coremltools_version, load_package, placed_on
from runtimes.encoder import ArrayFacts, Arrays, EncodedRows, EncoderFacts
from runtimes.errors import EncoderError
from runtimes.manifest import EncoderArtifact


class StatelessModel(Protocol):
    """The part of coremltools' `MLModel` that is used."""

    def predict(self, data: Mapping[str, Any]) -> Mapping[str, Any]: ...


class CoreMlTowerEncoder:
    """A model, inputs to rows [1, soft tokens, hidden]. `open` makes one on macOS; tests pass a model of
    their own.

    name, given: how errors call it and what it takes. whole: inputs of whole numbers. output: the name of
    its rows.
    """

    name: ClassVar[str]
    given: ClassVar[str]
    whole: ClassVar[frozenset[str]] = frozenset()
    output: ClassVar[str]

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
                np.dtype(np.int32 if given.name in cls.whole else np.float16),
            )
            for given in model.get_spec().description.input
        }
        rows = ArrayFacts((1, artifact.soft_tokens, artifact.width), np.dtype(np.float32))
        facts = EncoderFacts(
            RUNTIME, coremltools_version(), placed_on(compute_units), inputs, {cls.output: rows}
        )
        return cls(model, facts)

    @property
    def facts(self) -> EncoderFacts:
        """Inputs and outputs of the largest picture or the longest sound it takes."""
        return self._facts

    def close(self) -> None:
        self._model = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()

    def _rows(self, arrays: Arrays, soft_tokens: int) -> EncodedRows:
        """Raises EncoderError where they are not what the model takes, or give more or fewer rows."""
        if self._model is None:
            raise EncoderError("the encoder is closed; open the artifact again")
        _, most, width = self._facts.outputs[self.output].shape
        inputs, advice = self._facts.inputs, "prepare it with the processing of this release"
        if arrays.keys() != inputs.keys() or soft_tokens > most:
            raise EncoderError(
                f"{self.given} of {sorted(arrays)} and {soft_tokens} soft tokens for {self.name} of "
                f"{sorted(inputs)} and {most}; {advice}"
            )
        for name, each in arrays.items():
            if each.shape[-1] != inputs[name].shape[-1]:
                raise EncoderError(
                    f"{self.given} whose {name} have {each.shape[-1]} numbers each for {self.name} of "
                    f"{inputs[name].shape[-1]}; {advice}"
                )
        given = {name: each.astype(inputs[name].dtype) for name, each in arrays.items()}
        found = np.asarray(self._model.predict(given)[self.output])
        if found.shape != (1, soft_tokens, width):
            raise EncoderError(
                f"Core ML returned {self.output} {list(found.shape)} of {self.given} of {soft_tokens} soft "
                f"tokens; {advice}"
            )
        rows: EncodedRows = found[0].astype(np.float32)
        return rows
