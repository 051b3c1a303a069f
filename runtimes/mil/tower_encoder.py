"""`MilTowerEncoder`: a tower's package run by the evaluator.

What drivers of image towers and of audio encoders have in common. Not about operations, nor
about what a picture or a sound is made into.
"""

from __future__ import annotations

from pathlib import Path
from typing import ClassVar, Self

import numpy as np

from runtimes.encoder import ArrayFacts, Arrays, EncodedRows, EncoderFacts
from runtimes.errors import ArtifactError, EncoderError, SessionError
from runtimes.mil.arithmetic import ARITHMETICS, ArithmeticName
from runtimes.mil.execution import Execution
from runtimes.mil.program import Program
from runtimes.mil.session import EVALUATOR_VERSION
from runtimes.mil.tensor_types import MEMORY_DTYPE


class MilTowerEncoder:
    """A package of one function, inputs to rows [1, soft tokens, hidden]. `open` makes one.

    name, given: how errors call it and what it takes. inputs: names of its inputs, of which the last may be
    missing where there are two. output: the name of its rows.
    """

    name: ClassVar[str]
    given: ClassVar[str]
    inputs: ClassVar[tuple[str, ...]]
    output: ClassVar[str]

    def __init__(self, execution: Execution, facts: EncoderFacts) -> None:
        self._execution: Execution | None = execution
        self._facts = facts

    @classmethod
    def open(cls, path: Path, arithmetic: ArithmeticName = "fp32") -> Self:
        """Open a `.mlpackage`. Raises ArtifactError where it is damaged, is not a tower of the expected
        names, or holds what the evaluator does not implement."""
        execution = Execution.open(path, arithmetic)
        cls._check(execution.program)
        return cls(execution, _facts(execution.program, arithmetic))

    @property
    def facts(self) -> EncoderFacts:
        """Inputs and outputs of the largest picture or the longest sound it takes."""
        return self._facts

    @property
    def non_finite(self) -> dict[str, int]:
        """fp16 results that are NaN or infinite, by operation."""
        return dict(self._open().non_finite)

    def close(self) -> None:
        if self._execution is not None:
            self._execution.close()
        self._execution = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()

    def _rows(self, arrays: Arrays, soft_tokens: int) -> EncodedRows:
        """Raises EncoderError where they are not what the program takes, or give more or fewer rows."""
        execution = self._open()
        advice = "prepare it with the processing of this release"
        if arrays.keys() != execution.program.inputs.keys():
            raise EncoderError(
                f"{self.given} of {sorted(arrays)} for {self.name} of "
                f"{sorted(execution.program.inputs)}; {advice}"
            )
        try:
            rows: EncodedRows = execution.run(arrays)[self.output][0]
        except SessionError as error:  # of another size than the program takes
            raise EncoderError(f"{error}: {self.given} of another size; {advice}") from error
        if len(rows) != soft_tokens:
            raise EncoderError(f"{len(rows)} rows of {self.given} of {soft_tokens} soft tokens; {advice}")
        return rows

    def _open(self) -> Execution:
        if self._execution is None:
            raise EncoderError("the encoder is closed; open the artifact again")
        return self._execution

    @classmethod
    def _check(cls, program: Program) -> None:
        expected = ({*cls.inputs}, {cls.inputs[0]})
        if program.inputs.keys() not in expected or program.outputs.keys() != {cls.output}:
            raise ArtifactError(
                f"{program.source}: inputs {sorted(program.inputs)} and outputs {sorted(program.outputs)} "
                f"are not those of {cls.name}; expected {' and perhaps '.join(cls.inputs)} → {cls.output}"
            )


def _facts(program: Program, arithmetic: ArithmeticName) -> EncoderFacts:
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
