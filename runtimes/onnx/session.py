"""`OnnxSession`: an ONNX artifact, run by ONNX Runtime on the CPU.

Every cache is one buffer of the whole context, bound as past and as present, so that attention
appends in place; memory of positions not yet used is not touched. A graph for browsers says that its caches
grow: each call is given what the last one returned. Not about onnxruntime-genai.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

import numpy as np
from numpy.typing import NDArray

from runtimes.errors import ArtifactError, RuntimeUnavailable
from runtimes.excerpt import plain_excerpt
from runtimes.session import Logits, SessionFacts, Tokens, closed

if TYPE_CHECKING:
    import onnxruntime

METADATA = "gemma_export."
GROWS = "grows"
CACHE_INPUT, CACHE_OUTPUT = "past_key_values.", "present."
IDS, MASK = "input_ids", "attention_mask"


class OnnxSession:
    """Satisfies `Session`. `path` is the .onnx file; its external data lies beside it.

    threads: for operators; None lets ONNX Runtime choose. vocab_size: of a graph that ends before its
    head, whose "logits" are as wide as the hidden state. Raises RuntimeUnavailable without onnxruntime,
    ArtifactError for a file it cannot load or that is not one of ours.

    given: what the graph may take beside caches.
    """

    given = frozenset({IDS, MASK})

    def __init__(self, path: Path, threads: int | None = None, vocab_size: int | None = None) -> None:
        self._session: onnxruntime.InferenceSession | None = inference_session(path, threads)
        facts = _facts(path, self._session, runtime_version())
        self._logits_width = facts.vocab_size
        self._facts = replace(facts, vocab_size=vocab_size or self._logits_width)
        context = self._facts.context
        self._binding: Any = self._session.io_binding()
        self._wanted = {value.name for value in self._session.get_inputs()}
        require_inputs(path, self._session, self.given)
        self._mask = np.ones(context, np.int64)
        self._caches: list[NDArray[np.float32]] = []
        self._grown: dict[str, NDArray[np.float32]] | None = None
        if self.metadata.get(f"{METADATA}cache") == GROWS:
            self._grown = self._empty()
        else:
            for name, (heads, width) in self._cache_sides():
                self._bind_cache(name, (1, heads, context, width))
        self._position = 0

    @property
    def facts(self) -> SessionFacts:
        return self._facts

    @property
    def position(self) -> int:
        return self._position

    @property
    def metadata(self) -> dict[str, str]:
        """What the graph says of itself."""
        self._refuse_closed()
        assert self._session is not None
        found: dict[str, str] = self._session.get_modelmeta().custom_metadata_map
        return found

    def reset(self) -> None:
        # Attention reads no position it has not been given: old keys need no clearing.
        if self._grown is not None:
            self._grown = self._empty()
        self._position = 0

    def prefill(self, tokens: Tokens) -> Logits:
        self._refuse_closed()
        ids = self._facts.tokens_at(self._position, tokens)
        step = self._facts.prefill_chunk
        every = self._facts.prefill_logits == "all"
        logits = np.empty((len(ids) if every else 1, self._logits_width), np.float32)
        for start in range(0, len(ids), step):
            chunk = ids[start : start + step]
            self._run(chunk, logits[start : start + len(chunk)] if every else logits)
        return logits

    def decode(self, token: int) -> NDArray[np.float32]:
        self._refuse_closed()
        tokens = self._facts.token_at(self._position, token)
        logits = np.empty((1, self._logits_width), np.float32)
        self._run(tokens, logits)
        row: NDArray[np.float32] = logits[0]
        return row

    def close(self) -> None:
        self._session = self._binding = None
        self._caches.clear()
        self._grown = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()

    def _cache_sides(self) -> Iterator[tuple[str, tuple[int, int]]]:
        """Each cache's input, and its heads and their width."""
        assert self._session is not None
        for value in self._session.get_inputs():
            if value.name.startswith(CACHE_INPUT):
                yield value.name, (value.shape[1], value.shape[3])

    def _empty(self) -> dict[str, NDArray[np.float32]]:
        sides = self._cache_sides()
        return {name: np.empty((1, heads, 0, width), np.float32) for name, (heads, width) in sides}

    def _bind_cache(self, name: str, shape: tuple[int, ...]) -> None:
        cache = np.zeros(shape, np.float32)
        self._caches.append(cache)
        place = ("cpu", 0, np.float32, shape, cache.ctypes.data)
        self._binding.bind_input(name, *place)
        self._binding.bind_output(CACHE_OUTPUT + name.removeprefix(CACHE_INPUT), *place)

    def _refuse_closed(self) -> None:
        if self._session is None:
            raise closed()

    def _run(self, tokens: Tokens, logits: Logits) -> None:
        """One call of the graph: tokens appended, their logits [kept, vocab] written in place."""
        assert self._session is not None
        inputs = self._inputs(tokens)
        if self._grown is not None:
            self._grow(self._grown, inputs, logits)
        else:
            binding = self._binding
            for name, value in inputs.items():
                place = ("cpu", 0, value.dtype.type, value.shape, value.ctypes.data)
                binding.bind_input(name, *place)
            binding.bind_output("logits", "cpu", 0, np.float32, (1, *logits.shape), logits.ctypes.data)
            self._session.run_with_iobinding(binding)
        self._position += len(tokens)

    def _inputs(self, tokens: Tokens) -> dict[str, NDArray[Any]]:
        """What a call is given beside the caches, each contiguous."""
        mask = self._mask[: self._position + len(tokens)]
        return {IDS: tokens[None].astype(np.int64), MASK: mask[None]}

    def _grow(
        self, caches: dict[str, NDArray[np.float32]], inputs: dict[str, NDArray[Any]], logits: Logits
    ) -> None:
        """A call with caches that are given and returned."""
        assert self._session is not None
        presents = {name: CACHE_OUTPUT + name.removeprefix(CACHE_INPUT) for name in caches}
        found, *returned = self._session.run(["logits", *presents.values()], {**inputs, **caches})
        logits[:] = found[0]
        caches.update(zip(presents, returned, strict=True))


def inference_session(path: Path, threads: int | None = None) -> Any:
    """ONNX Runtime's own session of a graph. Raises as `OnnxSession` does for what cannot be loaded."""
    ort = _onnxruntime()
    if not path.is_file():
        raise ArtifactError(f"{path}: is missing; copy the release again")
    options = ort.SessionOptions()
    options.intra_op_num_threads = threads or 0
    options.log_severity_level = 3
    try:
        return ort.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
    except Exception as error:  # its C extension's classes have no base of their own
        raise ArtifactError(
            f"{path}: ONNX Runtime cannot load it ({plain_excerpt(error)}); copy the release again"
        ) from error


def require_inputs(path: Path, session: Any, given: Collection[str]) -> None:
    """Raise ArtifactError for a graph that takes what is not given: another one under this one's name."""
    for value in session.get_inputs():
        if value.name not in given and not value.name.startswith(CACHE_INPUT):
            raise ArtifactError(
                f"{path}: takes {plain_excerpt(value.name)}, which no such graph of gemma-export does; "
                "copy the release again"
            )


def runtime_version() -> str:
    """Of the installed ONNX Runtime."""
    return str(_onnxruntime().__version__)


def _onnxruntime() -> Any:
    try:
        import onnxruntime
    except ImportError as error:
        raise RuntimeUnavailable("onnxruntime is not installed; install gemma-export[run-onnx]") from error
    return onnxruntime


def _facts(path: Path, session: Any, version: str) -> SessionFacts:
    metadata = session.get_modelmeta().custom_metadata_map
    outputs = {value.name: value.shape for value in session.get_outputs()}
    try:
        context, chunk = int(metadata[f"{METADATA}context"]), int(metadata[f"{METADATA}prefill_chunk"])
        arithmetic = metadata[f"{METADATA}arithmetic"]
        _, kept, vocab_size = outputs["logits"]
    except (KeyError, ValueError) as error:
        raise ArtifactError(
            f"{path}: says nothing of {error}; it was not written by gemma-export, export the model again"
        ) from error
    return SessionFacts(
        runtime="ONNX Runtime",
        version=version,
        arithmetic=arithmetic,
        vocab_size=vocab_size,
        context=context,
        prefill_chunk=min(chunk, context),
        prefill_logits="last" if kept == 1 else "all",
    )
