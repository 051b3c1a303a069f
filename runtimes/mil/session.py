"""`MilSession`: a language model's package behind the `Session` interface.

Not about operations. It knows the names swift-transformers uses: inputs `inputIds` [1, S] and
`causalMask` [1, 1, S, E] with E = past + S, output `logits` [1, S, vocab]; states are taken as they
come. Causality is the graph's own matter, so the mask passed is zeros, as swift-transformers does.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Self

import numpy as np
from numpy.typing import NDArray

from runtimes.errors import ArtifactError, SessionError
from runtimes.mil.arithmetic import ARITHMETICS, ArithmeticName
from runtimes.mil.execution import Execution
from runtimes.mil.program import Program
from runtimes.mil.tensor_types import Floats
from runtimes.mil.weight_memory import DEFAULT_CACHE_BYTES
from runtimes.session import Logits, PrefillLogits, SessionFacts, Tokens, closed

EVALUATOR_VERSION = "1"
TOKENS, MASK, LOGITS = "inputIds", "causalMask", "logits"
DEFAULT_PREFILL_CHUNK = 128


class MilSession:
    """A package run by the evaluator. `open` makes one."""

    def __init__(self, execution: Execution, facts: SessionFacts) -> None:
        self._execution: Execution | None = execution
        self._facts = facts
        self._position = 0

    @classmethod
    def open(
        cls,
        path: Path,
        arithmetic: ArithmeticName = "fp32",
        *,
        function: str | None = None,
        prefill_chunk: int = DEFAULT_PREFILL_CHUNK,
        weight_cache_bytes: int = DEFAULT_CACHE_BYTES,
    ) -> Self:
        """Open a `.mlpackage`.

        prefill_chunk: tokens per run of a prefill; less where the package takes less.
        weight_cache_bytes: bound on decoded weights kept; what does not fit is decoded at each use.
        Raises ArtifactError where the package is damaged, is not a language model of the expected
        names, or holds what the evaluator does not implement.
        """
        execution = Execution.open(
            path, arithmetic, function=function, weight_cache_bytes=weight_cache_bytes
        )
        if execution.program.inputs.keys() != {TOKENS, MASK}:
            raise _not_a_language_model(execution.program, f"{TOKENS}, {MASK}")
        return cls(execution, decoder_facts(execution.program, arithmetic, prefill_chunk, TOKENS))

    @property
    def facts(self) -> SessionFacts:
        return self._facts

    @property
    def position(self) -> int:
        return self._position

    @property
    def non_finite(self) -> Mapping[str, int]:
        """fp16 results that are NaN or infinite, by operation, since the session began or reset."""
        return dict(self._open().non_finite)

    def reset(self) -> None:
        self._open().reset()
        self._position = 0

    def prefill(self, tokens: Tokens) -> Logits:
        execution = self._open()
        ids = self._facts.tokens_at(self._position, tokens)
        step = self._facts.prefill_chunk
        parts = (self._run(execution, ids[start : start + step]) for start in range(0, len(ids), step))
        return self._facts.logits_of_prefill(parts, len(ids))

    def decode(self, token: int) -> NDArray[np.float32]:
        execution = self._open()
        logits: NDArray[np.float32] = self._run(execution, self._facts.token_at(self._position, token))[-1]
        return logits

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
            raise closed()
        return self._execution

    def _run(self, execution: Execution, ids: Tokens) -> Floats:
        end = self._position + len(ids)
        inputs = {
            TOKENS: ids[None],
            MASK: np.zeros((1, 1, len(ids), end), np.float32),
        }
        logits: Floats = execution.run(inputs)[LOGITS][0]
        self._position = end
        return logits


def decoder_facts(
    program: Program, arithmetic: ArithmeticName, prefill_chunk: int, entry: str
) -> SessionFacts:
    """Facts of a decoder, `entry` being the input that has an entry for each token. Raises ArtifactError
    where it is not one, SessionError for a chunk of nothing."""
    if program.outputs.keys() != {LOGITS}:
        raise _not_a_language_model(program, f"{entry}, {MASK}")
    logits = program.outputs[LOGITS].shape
    if len(logits) != 3 or logits[-1] is None:
        raise ArtifactError(f"{program.source}: {LOGITS} is {program.outputs[LOGITS]}, no vocabulary")
    positions: PrefillLogits = "last" if logits[1] == 1 else "all"
    most_tokens = _upper_bound(program, entry, 1)
    context = _upper_bound(program, MASK, 3)
    if most_tokens is None or context is None:
        raise ArtifactError(
            f"{program.source}: the package does not bound {entry} and {MASK}; export again with ranges"
        )
    if prefill_chunk < 1:
        raise SessionError(f"a prefill chunk of {prefill_chunk} tokens; pass 1 or more")
    return SessionFacts(
        runtime="MIL evaluator",
        version=EVALUATOR_VERSION,
        arithmetic=ARITHMETICS[arithmetic],
        vocab_size=logits[-1],
        context=context,
        prefill_chunk=min(prefill_chunk, most_tokens),
        prefill_logits=positions,
    )


def _not_a_language_model(program: Program, inputs: str) -> ArtifactError:
    return ArtifactError(
        f"{program.source}: inputs {sorted(program.inputs)} and outputs "
        f"{sorted(program.outputs)} are not those of a language model; expected "
        f"{inputs} → {LOGITS}"
    )


def _upper_bound(program: Program, name: str, axis: int) -> int | None:
    for feature in program.interface.inputs:
        if feature.name == name and feature.ranges is not None and len(feature.ranges) > axis:
            return feature.ranges[axis][1]
    return None
