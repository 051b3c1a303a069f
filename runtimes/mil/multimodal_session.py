"""`MilMultimodalSession`: a decoder's package behind the `MultimodalSession` interface.

It runs two functions of the package (`multimodal.package_functions`), of which one keeps the states. Not
about the function for tokens (`session`), whose logits these are where no image and no sound is. A call may
have any length, so that none ends within an image.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Self

import numpy as np
from numpy.typing import NDArray

from runtimes.errors import ArtifactError
from runtimes.mil.arithmetic import ArithmeticName
from runtimes.mil.execution import Execution
from runtimes.mil.package import read_package
from runtimes.mil.session import DEFAULT_PREFILL_CHUNK, LOGITS, MASK, TOKENS, decoder_facts
from runtimes.mil.tensor_types import Array, Floats
from runtimes.multimodal.embedded_call import EmbeddedCall
from runtimes.multimodal.package_functions import (
    BLOCKS,
    EMBEDDED,
    LOOKUP,
    PER_LAYER,
    decoder_function,
    soft_tokens,
)
from runtimes.multimodal.placing import SoftTokens, calls_around, require_placed
from runtimes.multimodal.session import PlacedRows
from runtimes.session import Logits, SessionFacts, Tokens, closed


class MilMultimodalSession:
    """Two functions run by the evaluator. `open` makes one. soft: by kind of rows."""

    def __init__(
        self, lookup: Execution, decoder: Execution, facts: SessionFacts, soft: SoftTokens
    ) -> None:
        self._functions: tuple[Execution, Execution] | None = (lookup, decoder)
        self._facts = facts
        self._soft = soft
        self._width = decoder.program.inputs[EMBEDDED].shape[-1] or 0
        self._position = 0

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
    def facts(self) -> SessionFacts:
        return self._facts

    @property
    def position(self) -> int:
        return self._position

    @property
    def non_finite(self) -> Mapping[str, int]:
        """As `MilSession.non_finite` has it."""
        return dict(self._open()[1].non_finite)

    def reset(self) -> None:
        self._open()[1].reset()
        self._position = 0

    def prefill(self, tokens: Tokens) -> Logits:
        self._open()
        return self._prefill(self._facts.tokens_at(self._position, tokens), ())

    def prefill_with_rows(self, tokens: Tokens, placed: Sequence[PlacedRows]) -> Logits:
        self._open()
        ids = self._facts.tokens_at(self._position, tokens)
        ordered = sorted(placed, key=lambda each: each.start)
        require_placed(ids, ordered, self._soft, self._width)
        return self._prefill(ids, ordered)

    def decode(self, token: int) -> NDArray[np.float32]:
        self._open()
        ids = self._facts.token_at(self._position, token)
        logits: NDArray[np.float32] = self._run(EmbeddedCall(ids))[-1]
        return logits

    def close(self) -> None:
        for function in self._functions or ():
            function.close()
        self._functions = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()

    def _open(self) -> tuple[Execution, Execution]:
        if self._functions is None:
            raise closed()
        return self._functions

    def _prefill(self, ids: Tokens, placed: Sequence[PlacedRows]) -> Logits:
        calls = calls_around(placed, len(ids), self._facts.prefill_chunk)
        parts = (self._run(EmbeddedCall.part(ids, placed, start, stop)) for start, stop in calls)
        return self._facts.logits_of_prefill(parts, len(ids))

    def _run(self, call: EmbeddedCall) -> Floats:
        lookup, decoder = self._open()
        end = self._position + len(call.ids)
        found = lookup.run({TOKENS: call.looked_up[None]})
        inputs: dict[str, Array] = {
            **found,
            EMBEDDED: call.merged(found[EMBEDDED]),
            MASK: np.zeros((1, 1, len(call.ids), end), np.float32),
        }
        if BLOCKS in decoder.program.inputs:
            inputs[BLOCKS] = call.blocks(self._position)
        logits: Floats = decoder.run(inputs)[LOGITS][0]
        self._position = end
        return logits


def _check(lookup: Execution, decoder: Execution) -> None:
    """Raise ArtifactError unless the functions take and return what they are called with."""
    made, taken = lookup.program.outputs.keys(), decoder.program.inputs.keys()
    if lookup.program.inputs.keys() != {TOKENS} or made | {MASK, BLOCKS} != taken | {BLOCKS}:
        raise ArtifactError(
            f"{decoder.program.source}: {LOOKUP} gives {sorted(made)} and the decoder takes "
            f"{sorted(taken)}; expected {EMBEDDED}, perhaps {PER_LAYER}, and {MASK}, perhaps {BLOCKS}"
        )
