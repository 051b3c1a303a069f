"""`CoreMlSession`: a language model's package, run by Apple's Core ML.

Not about compiling or caching models: coremltools compiles a package each time it is opened. Inputs
are swift-transformers' (see `runtimes.mil.session`): `inputIds` [1, S] and a `causalMask` of zeros
[1, 1, S, E] with E = past + S. The state lives in Core ML and is made anew by `reset`.
"""

from __future__ import annotations

import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal, Protocol, Self

import numpy as np
from numpy.typing import NDArray

from runtimes.errors import ArtifactError, RuntimeUnavailable
from runtimes.excerpt import plain_excerpt
from runtimes.manifest import Artifact
from runtimes.session import Logits, SessionFacts, Tokens, closed

ComputeUnits = Literal["ALL", "CPU_ONLY", "CPU_AND_GPU", "CPU_AND_NE"]
RUNTIME = "Core ML"
TOKENS, MASK, LOGITS = "inputIds", "causalMask", "logits"


class StatefulModel(Protocol):
    """The part of coremltools' `MLModel` that is used."""

    def make_state(self) -> Any: ...

    def predict(self, data: Mapping[str, Any], state: Any) -> Mapping[str, Any]: ...


class CoreMlSession:
    """Satisfies `Session`. `open` makes one on macOS; tests pass a model of their own."""

    def __init__(self, model: StatefulModel, facts: SessionFacts) -> None:
        self._model: StatefulModel | None = model
        self._facts = facts
        self._state = model.make_state()
        self._position = 0

    @classmethod
    def open(cls, path: Path, artifact: Artifact, compute_units: ComputeUnits = "ALL") -> Self:
        """Open the package at `path`, which the manifest describes as `artifact`.

        Raises RuntimeUnavailable off macOS or without coremltools, ArtifactError where Core ML does
        not load the package.
        """
        model = load_package(path, compute_units)
        return cls(model, promised_facts(artifact, compute_units))

    @property
    def facts(self) -> SessionFacts:
        return self._facts

    @property
    def position(self) -> int:
        return self._position

    def reset(self) -> None:
        self._state = self._open().make_state()
        self._position = 0

    def prefill(self, tokens: Tokens) -> Logits:
        model = self._open()
        ids = self._facts.tokens_at(self._position, tokens)
        step = self._facts.prefill_chunk
        parts = (self._run(model, ids[start : start + step]) for start in range(0, len(ids), step))
        return self._facts.logits_of_prefill(parts, len(ids))

    def decode(self, token: int) -> NDArray[np.float32]:
        model = self._open()
        logits: NDArray[np.float32] = self._run(model, self._facts.token_at(self._position, token))[-1]
        return logits

    def close(self) -> None:
        self._model = None
        self._state = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()

    def _open(self) -> StatefulModel:
        if self._model is None:
            raise closed()
        return self._model

    def _run(self, model: StatefulModel, ids: Tokens) -> Logits:
        """[positions, vocab] of one prediction."""
        end = self._position + len(ids)
        inputs = {
            TOKENS: ids[None],
            MASK: np.zeros((1, 1, len(ids), end), np.float16),
        }
        outputs = model.predict(inputs, state=self._state)
        rows = logits_of(outputs, len(ids), self._facts)
        self._position = end
        return rows


def logits_of(outputs: Mapping[str, Any], tokens: int, facts: SessionFacts) -> Logits:
    """[positions, vocab] of what a prediction of so many tokens returned. Raises ArtifactError where they
    are of another shape than the facts say."""
    logits = np.asarray(outputs[LOGITS]) if LOGITS in outputs else np.empty(0)
    wanted = (1, 1 if facts.prefill_logits == "last" else tokens, facts.vocab_size)
    if logits.shape != wanted:
        raise ArtifactError(
            f"Core ML returned {LOGITS} of shape {logits.shape} where the manifest promises "
            f"{wanted}; the package and the manifest are not of one release"
        )
    rows: Logits = logits[0].astype(np.float32)
    return rows


def load_package(path: Path, compute_units: ComputeUnits, function: str | None = None) -> Any:
    """coremltools' `MLModel` of a package, of one of its functions where one is named.

    Raises RuntimeUnavailable off macOS or without coremltools, ArtifactError where Core ML does not load
    it.
    """
    coremltools = _coremltools()
    named = {} if function is None else {"function_name": function}
    try:
        return coremltools.models.MLModel(
            str(path), compute_units=coremltools.ComputeUnit[compute_units], **named
        )
    except Exception as error:  # Core ML's errors come as plain RuntimeError or Exception
        raise ArtifactError(
            f"{path}: Core ML does not load it ({plain_excerpt(error)}); export again"
        ) from error


def promised_facts(artifact: Artifact, compute_units: ComputeUnits) -> SessionFacts:
    return SessionFacts(
        runtime=RUNTIME,
        version=coremltools_version(),
        arithmetic=placed_on(compute_units),
        vocab_size=artifact.vocab_size,
        context=artifact.context,
        prefill_chunk=artifact.prefill_chunk,
        prefill_logits=artifact.prefill_logits,
    )


def coremltools_version() -> str:
    """Of the installed coremltools. Raises RuntimeUnavailable as `load_package`."""
    return f"coremltools {_coremltools().__version__}"


def placed_on(compute_units: ComputeUnits) -> str:
    """How facts call the arithmetic."""
    return f"as Core ML places it on {compute_units}"


def _coremltools() -> Any:
    system: str = sys.platform
    if system != "darwin":
        raise RuntimeUnavailable(
            f"Core ML runs on macOS only, this is {system}; use runtimes.mil.session.MilSession, "
            "which executes the same package by its own arithmetic"
        )
    try:
        import coremltools
    except ImportError as error:
        raise RuntimeUnavailable(
            "coremltools is not installed; pip install 'gemma-export[run-coreml]'"
        ) from error
    return coremltools
