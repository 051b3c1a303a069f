"""`CoreMlMultimodalSession`: a decoder whose prompts may hold images and sounds, run by Apple's Core ML.

Two functions of one package (`multimodal.package_functions`), each loaded as a model, one without state and
one with; a state belongs to the model that made it, so that every token goes through these two. Not about
compiling models.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from runtimes.coreml.session import (
    MASK,
    TOKENS,
    ComputeUnits,
    StatefulModel,
    load_package,
    logits_of,
    promised_facts,
)
from runtimes.coreml.tower_encoder import StatelessModel
from runtimes.errors import ArtifactError
from runtimes.manifest import Artifact
from runtimes.multimodal.embedded_call import EmbeddedCall
from runtimes.multimodal.package_functions import BLOCKS, EMBEDDED, LOOKUP, decoder_function, soft_tokens
from runtimes.multimodal.placing import SoftTokens, calls_around, require_placed
from runtimes.multimodal.session import PlacedRows
from runtimes.session import Logits, SessionFacts, Tokens, closed


@dataclass(frozen=True)
class RowFunctions:
    """lookup, decoder: the two functions. soft: the id in the places of rows, by kind. width: of a row.
    blocks: whether the decoder takes image blocks."""

    lookup: StatelessModel
    decoder: StatefulModel
    soft: SoftTokens
    width: int
    blocks: bool

    @classmethod
    def load(cls, path: Path, compute_units: ComputeUnits) -> Self:
        """Raises as `load_package`, and ArtifactError for a package that takes text alone."""
        lookup = load_package(path, compute_units, LOOKUP)
        soft = soft_tokens(lookup.get_spec().description.metadata.userDefined)
        if not soft:
            raise ArtifactError(f"{path}: takes text alone; export again for images or sounds")
        name = decoder_function(soft)
        decoder = load_package(path, compute_units, name)
        shapes = {
            given.name: tuple(given.type.multiArrayType.shape)
            for function in decoder.get_spec().description.functions
            if function.name == name
            for given in function.input
        }
        if EMBEDDED not in shapes:
            raise ArtifactError(f"{path}: its function {name} takes no {EMBEDDED}; export again")
        return cls(lookup, decoder, soft, shapes[EMBEDDED][-1], BLOCKS in shapes)


class CoreMlMultimodalSession:
    """Satisfies `MultimodalSession`. `open` makes one on macOS; tests pass models of their own."""

    def __init__(self, functions: RowFunctions, facts: SessionFacts) -> None:
        self._functions: RowFunctions | None = functions
        self._facts = facts
        self._state = functions.decoder.make_state()
        self._position = 0

    @classmethod
    def open(cls, path: Path, artifact: Artifact, compute_units: ComputeUnits = "ALL") -> Self:
        """Open the package at `path`, whose decoder the manifest describes as `artifact`. Raises as
        `RowFunctions.load`."""
        functions = RowFunctions.load(path, compute_units)
        return cls(functions, promised_facts(artifact, compute_units))

    @property
    def facts(self) -> SessionFacts:
        return self._facts

    @property
    def position(self) -> int:
        return self._position

    def reset(self) -> None:
        self._state = self._open().decoder.make_state()
        self._position = 0

    def prefill(self, tokens: Tokens) -> Logits:
        self._open()
        return self._prefill(self._facts.tokens_at(self._position, tokens), ())

    def prefill_with_rows(self, tokens: Tokens, placed: Sequence[PlacedRows]) -> Logits:
        functions = self._open()
        ids = self._facts.tokens_at(self._position, tokens)
        ordered = sorted(placed, key=lambda each: each.start)
        require_placed(ids, ordered, functions.soft, functions.width)
        return self._prefill(ids, ordered)

    def decode(self, token: int) -> NDArray[np.float32]:
        self._open()
        ids = self._facts.token_at(self._position, token)
        logits: NDArray[np.float32] = self._run(EmbeddedCall(ids))[-1]
        return logits

    def close(self) -> None:
        self._functions = None
        self._state = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()

    def _open(self) -> RowFunctions:
        if self._functions is None:
            raise closed()
        return self._functions

    def _prefill(self, ids: Tokens, placed: Sequence[PlacedRows]) -> Logits:
        calls = calls_around(placed, len(ids), self._facts.prefill_chunk)
        parts = (self._run(EmbeddedCall.part(ids, placed, start, stop)) for start, stop in calls)
        return self._facts.logits_of_prefill(parts, len(ids))

    def _run(self, call: EmbeddedCall) -> Logits:
        functions = self._open()
        end = self._position + len(call.ids)
        found = functions.lookup.predict({TOKENS: call.looked_up[None]})
        inputs: dict[str, Any] = {name: np.asarray(each, np.float16) for name, each in found.items()}
        inputs[EMBEDDED] = call.merged(inputs[EMBEDDED])
        inputs[MASK] = np.zeros((1, 1, len(call.ids), end), np.float16)
        if functions.blocks:
            inputs[BLOCKS] = call.blocks(self._position)
        rows = logits_of(functions.decoder.predict(inputs, state=self._state), len(call.ids), self._facts)
        self._position = end
        return rows
