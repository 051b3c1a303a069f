"""`MilImageEncoder`: an image tower's package behind the `ImageEncoder` interface.

Not about operations, nor about pictures: it knows the names `pixels`, `positions` and `imageRows` of the
program, and in what order that wants patches.
"""

from __future__ import annotations

from pathlib import Path
from typing import Self

import numpy as np

from runtimes.encoder import ArrayFacts, EncodedRows, EncoderFacts
from runtimes.errors import ArtifactError, EncoderError, SessionError
from runtimes.images.prepared import PreparedImage
from runtimes.images.square_order import in_squares
from runtimes.mil.arithmetic import ARITHMETICS, ArithmeticName
from runtimes.mil.execution import Execution
from runtimes.mil.program import Program
from runtimes.mil.session import EVALUATOR_VERSION
from runtimes.mil.tensor_types import MEMORY_DTYPE

PIXELS, POSITIONS, ROWS = "pixels", "positions", "imageRows"


class MilImageEncoder:
    """A package run by the evaluator. `open` makes one."""

    def __init__(self, execution: Execution, facts: EncoderFacts) -> None:
        self._execution: Execution | None = execution
        self._facts = facts

    @classmethod
    def open(cls, path: Path, arithmetic: ArithmeticName = "fp32") -> Self:
        """Open a `.mlpackage`. Raises ArtifactError where it is damaged, is not a tower of the expected
        names, or holds what the evaluator does not implement."""
        execution = Execution.open(path, arithmetic)
        return cls(execution, _facts(execution.program, arithmetic))

    @property
    def facts(self) -> EncoderFacts:
        """Inputs and outputs of the largest picture it takes."""
        return self._facts

    @property
    def non_finite(self) -> dict[str, int]:
        """fp16 results that are NaN or infinite, by operation."""
        return dict(self._open().non_finite)

    def rows(self, image: PreparedImage) -> EncodedRows:
        execution = self._open()
        arrays = in_squares(image).arrays
        if arrays.keys() != execution.program.inputs.keys():
            raise EncoderError(
                f"a picture of {sorted(arrays)} for a tower of {sorted(execution.program.inputs)}; prepare "
                "it with the processing of this release"
            )
        try:
            rows: EncodedRows = execution.run(arrays)[ROWS][0]
        except SessionError as error:  # of another size than the program takes
            raise EncoderError(
                f"{error}; prepare the picture with the processing of this release"
            ) from error
        if len(rows) != image.soft_tokens:
            raise EncoderError(
                f"{len(rows)} rows of a picture of {image.soft_tokens} soft tokens; prepare it with the "
                "processing of this release"
            )
        return rows

    def close(self) -> None:
        if self._execution is not None:
            self._execution.close()
        self._execution = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()

    def _open(self) -> Execution:
        if self._execution is None:
            raise EncoderError("the encoder is closed; open the artifact again")
        return self._execution


def _facts(program: Program, arithmetic: ArithmeticName) -> EncoderFacts:
    if program.inputs.keys() not in ({PIXELS}, {PIXELS, POSITIONS}) or program.outputs.keys() != {ROWS}:
        raise ArtifactError(
            f"{program.source}: inputs {sorted(program.inputs)} and outputs {sorted(program.outputs)} are "
            f"not those of an image tower; expected {PIXELS} and perhaps {POSITIONS} → {ROWS}"
        )
    most = {
        feature.name: tuple(size or 0 for _, size in feature.ranges or ())
        for feature in program.interface.inputs
    }
    inputs = {
        name: ArrayFacts(most[name], np.dtype(MEMORY_DTYPE[kind.dtype]))
        for name, kind in program.inputs.items()
    }
    outputs = {
        name: ArrayFacts(tuple(size or 0 for size in kind.shape), np.dtype(np.float32))
        for name, kind in program.outputs.items()
    }
    return EncoderFacts("MIL evaluator", EVALUATOR_VERSION, ARITHMETICS[arithmetic], inputs, outputs)
