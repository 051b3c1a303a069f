"""`MilMultimodalSession`: a decoder's package behind the `MultimodalSession` interface.

It runs two functions of the package (`multimodal.package_functions`), of which one keeps the states. Not
about the function for tokens (`session`), whose logits these are where no image and no sound is. A call may
have any length, so that none ends within an image.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Self

import numpy as np

from runtimes.errors import ArtifactError
from runtimes.mil.arithmetic import ArithmeticName
from runtimes.mil.execution import Execution
from runtimes.mil.package import read_package
from runtimes.mil.session import DEFAULT_PREFILL_CHUNK, LOGITS, MASK, TOKENS, decoder_facts
from runtimes.mil.tensor_types import Array, Floats
from runtimes.multimodal.embedded_call import EmbeddedCall
from runtimes.multimodal.embedded_session import EmbeddedSession
from runtimes.multimodal.package_functions import (
    BLOCKS,
    EMBEDDED,
    LOOKUP,
    PER_LAYER,
    decoder_function,
    soft_tokens,
)
from runtimes.multimodal.placing import SoftTokens
from runtimes.session import SessionFacts, closed


class MilMultimodalSession(EmbeddedSession):
    """Two functions run by the evaluator. `open` makes one. soft: by kind of rows."""

    def __init__(
        self, lookup: Execution, decoder: Execution, facts: SessionFacts, soft: SoftTokens
    ) -> None:
        super().__init__(facts, soft, decoder.program.inputs[EMBEDDED].shape[-1] or 0)
        self._functions: tuple[Execution, Execution] | None = (lookup, decoder)

    @classmethod
    def open(
        cls,
        path: Path,
        arithmetic: ArithmeticName = "fp32",
        *,
        prefill_chunk: int = DEFAULT_PREFILL_CHUNK,
    ) -> Self:
        """Open a `.mlpackage`. prefill_chunk: as `MilSession.open` has it.

        Raises ArtifactError where it is damaged, has no functions that take rows, or holds what the
        evaluator does not implement.
        """
        package = read_package(path)
        soft = soft_tokens(package.model.facts)
        if not soft:
            raise ArtifactError(
                f"{path}: does not say which token stands for an image or a sound; it takes text alone, or "
                "export again"
            )
        lookup = Execution.of(package, arithmetic, function=LOOKUP)
        decoder = Execution.of(package, arithmetic, function=decoder_function(soft))
        _check(lookup, decoder)
        facts = decoder_facts(decoder.program, arithmetic, prefill_chunk, EMBEDDED)
        return cls(lookup, decoder, facts, soft)

    @property
    def non_finite(self) -> Mapping[str, int]:
        """As `MilSession.non_finite` has it."""
        return dict(self._open()[1].non_finite)

    def reset(self) -> None:
        self._open()[1].reset()
        self._position = 0

    def close(self) -> None:
        for function in self._functions or ():
            function.close()
        self._functions = None

    def require_open(self) -> None:
        self._open()

    def _open(self) -> tuple[Execution, Execution]:
        if self._functions is None:
            raise closed()
        return self._functions

    def run(self, call: EmbeddedCall) -> Floats:
        lookup, decoder = self._open()
        found = lookup.run({TOKENS: call.looked_up[None]})
        inputs: dict[str, Array] = {
            **found,
            EMBEDDED: call.merged(found[EMBEDDED]),
            MASK: np.zeros((1, 1, len(call.ids), self._position + len(call.ids)), np.float32),
        }
        if BLOCKS in decoder.program.inputs:
            inputs[BLOCKS] = call.blocks(self._position)
        logits: Floats = decoder.run(inputs)[LOGITS][0]
        return logits


def _check(lookup: Execution, decoder: Execution) -> None:
    """Raise ArtifactError unless the functions take and return what they are called with."""
    made, taken = lookup.program.outputs.keys(), decoder.program.inputs.keys()
    if lookup.program.inputs.keys() != {TOKENS} or made | {MASK, BLOCKS} != taken | {BLOCKS}:
        raise ArtifactError(
            f"{decoder.program.source}: {LOOKUP} gives {sorted(made)} and the decoder takes "
            f"{sorted(taken)}; expected {EMBEDDED}, perhaps {PER_LAYER}, and {MASK}, perhaps {BLOCKS}"
        )
