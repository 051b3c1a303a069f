"""`CoreMlMultimodalSession`: a decoder whose prompts may hold images and sounds, run by Apple's Core ML.

Two functions of one package (`multimodal.package_functions`), each loaded as a model, one without state and
one with; a state belongs to the model that made it, so that every token goes through these two. Not about
compiling models.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

import numpy as np

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
from runtimes.multimodal.embedded_session import EmbeddedSession
from runtimes.multimodal.package_functions import BLOCKS, EMBEDDED, LOOKUP, decoder_function, soft_tokens
from runtimes.multimodal.placing import SoftTokens
from runtimes.session import Logits, SessionFacts, closed


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


class CoreMlMultimodalSession(EmbeddedSession):
    """`open` makes one on macOS; tests pass models of their own."""

    def __init__(self, functions: RowFunctions, facts: SessionFacts) -> None:
        super().__init__(facts, functions.soft, functions.width)
        self._functions: RowFunctions | None = functions
        self._state = functions.decoder.make_state()

    @classmethod
    def open(cls, path: Path, artifact: Artifact, compute_units: ComputeUnits = "ALL") -> Self:
        """Open the package at `path`, whose decoder the manifest describes as `artifact`. Raises as
        `RowFunctions.load`."""
        functions = RowFunctions.load(path, compute_units)
        return cls(functions, promised_facts(artifact, compute_units))

    def reset(self) -> None:
        self._state = self._open().decoder.make_state()
        self._position = 0

    def close(self) -> None:
        self._functions = None
        self._state = None

    def require_open(self) -> None:
        self._open()

    def run(self, call: EmbeddedCall) -> Logits:
        functions = self._open()
        found = functions.lookup.predict({TOKENS: call.looked_up[None]})
        inputs: dict[str, Any] = {name: np.asarray(each, np.float16) for name, each in found.items()}
        inputs[EMBEDDED] = call.merged(inputs[EMBEDDED])
        inputs[MASK] = np.zeros((1, 1, len(call.ids), self._position + len(call.ids)), np.float16)
        if functions.blocks:
            inputs[BLOCKS] = call.blocks(self._position)
        return logits_of(functions.decoder.predict(inputs, state=self._state), len(call.ids), self._facts)

    def _open(self) -> RowFunctions:
        if self._functions is None:
            raise closed()
        return self._functions
