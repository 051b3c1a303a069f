"""`LiteRtSession`: a .tflite or .litertlm behind the `Session` interface, on the CPU.

Not about generation. The graph is the one LiteRT-LM expects: signatures `prefill_<n>` and `decode`,
caches in and out; a bundle may look tokens up in models of their own (`embedders`). The runtime updates
a cache in place where input and output are one buffer, so each cache is bound once and never copied.
"""

from __future__ import annotations

import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from runtimes.litert.attention_masks import AttentionMasks
from runtimes.litert.calls import (
    CACHE,
    DECODE,
    LOGITS,
    PREFILL,
    GraphCall,
    call_inputs,
    prefill_calls,
)
from runtimes.litert.compiled import (
    close_model,
    compile_model,
    refusals_explained,
    require_litert,
    require_room_to_pack,
)
from runtimes.litert.embedders import Embedder, open_embedders, with_vectors
from runtimes.litert.facts import SignatureShapes, session_facts
from runtimes.litert.model_file import model_files
from runtimes.session import Logits, SessionFacts, Tokens, closed


@dataclass(frozen=True)
class Signature:
    """One signature with its own buffers; the caches are the session's."""

    index: int
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    buffers: dict[str, Any]


@dataclass(frozen=True)
class LoadedModels:
    """text: compiled. embedders: by the input of it that they fill. masks: that it takes."""

    text: Any
    embedders: Mapping[str, Embedder]
    masks: AttentionMasks


class LiteRtSession:
    """A model run by LiteRT's CompiledModel. `open` makes one."""

    def __init__(
        self, models: LoadedModels, facts: SessionFacts, scratch: tempfile.TemporaryDirectory[str]
    ) -> None:
        self._model = model = models.text
        self._embedders, self._masks = models.embedders, models.masks
        self._facts = facts
        self._scratch = scratch
        self._position = 0
        details = model.get_input_tensor_details(DECODE)
        self._cache_shapes = {
            name: tuple(entry["shape"]) for name, entry in details.items() if name.startswith(CACHE)
        }
        self._caches = {
            name: model.create_input_buffer_by_name(DECODE, name) for name in self._cache_shapes
        }
        self._decode = self._signature(DECODE)
        self._prefill = self._signature(f"{PREFILL}{facts.prefill_chunk}")
        self.reset()

    @classmethod
    def open(cls, path: Path, *, threads: int = 2, scratch: Path | None = None) -> Self:
        """Open a .tflite, or the models inside a .litertlm (their weights are not copied).

        scratch: directory for XNNPACK's packed copy of the weights, about as large as they are and
        deleted on `close`. Mapped from there it costs no anonymous memory, unless the directory is
        itself in memory (tmpfs). None: the system's own.
        Raises RuntimeUnavailable without ai-edge-litert, ArtifactError for a file it cannot run, and
        OSError where the packed copy may not fit.
        """
        require_litert()
        directory = tempfile.TemporaryDirectory(prefix="gemma-litert-", dir=scratch)
        try:
            place = Path(directory.name)
            files = model_files(path, place)
            require_room_to_pack(place, files.packed)
            with refusals_explained(path):
                embedders = open_embedders(files.embedders, place, path)
                model = compile_model(files.text, place, threads)
                facts = session_facts(
                    path, signatures_of(model), set(embedders), files.arithmetic, files.masks
                )
                return cls(LoadedModels(model, embedders, files.masks), facts, directory)
        except BaseException:
            directory.cleanup()
            raise

    @property
    def facts(self) -> SessionFacts:
        return self._facts

    @property
    def position(self) -> int:
        return self._position

    def reset(self) -> None:
        self._refuse_closed()
        # Slots past the position are masked but still multiplied by 0: they must be finite.
        for name, shape in self._cache_shapes.items():
            self._caches[name].write(np.zeros(shape, np.float32))
        self._position = 0

    def prefill(self, tokens: Tokens) -> Logits:
        self._refuse_closed()
        ids = self._facts.tokens_at(self._position, tokens)
        for call in prefill_calls(ids, self._position, self._facts):
            self._run(self._prefill if call.signature == "prefill" else self._decode, call)
        return np.empty((0, self._facts.vocab_size), np.float32)

    def decode(self, token: int) -> NDArray[np.float32]:
        self._refuse_closed()
        tokens = self._facts.token_at(self._position, token)
        self._run(self._decode, GraphCall("decode", tokens, self._position, 1))
        logits: NDArray[np.float32] = self._decode.buffers[LOGITS].read(self._facts.vocab_size, np.float32)
        return logits

    def close(self) -> None:
        if self._model is None:
            return
        # Buffers before the model, the model before its environment.
        for buffers in (self._caches, self._decode.buffers, self._prefill.buffers):
            for buffer in buffers.values():
                buffer.destroy()
            buffers.clear()
        for embedder in self._embedders.values():
            embedder.close()
        close_model(self._model)
        self._model = None
        self._scratch.cleanup()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()

    def _signature(self, name: str) -> Signature:
        index = self._model.get_signature_index(name)
        listing = self._model.get_signature_by_index(index)
        buffers = {
            entry: self._model.create_input_buffer_by_name(name, entry)
            for entry in listing["inputs"]
            if entry not in self._caches
        }
        for entry in listing["outputs"]:
            if entry not in self._caches:
                buffers[entry] = self._model.create_output_buffer_by_name(name, entry)
        return Signature(index, tuple(listing["inputs"]), tuple(listing["outputs"]), buffers)

    def _run(self, signature: Signature, call: GraphCall) -> None:
        """Run a call at the current position; caches and the position are updated."""
        inputs = call_inputs(call, self._facts.context, self._masks)
        inputs = with_vectors(inputs, self._embedders, call.placed)
        for name, values in inputs.items():
            signature.buffers[name].write(values)
        buffers = {**signature.buffers, **self._caches}
        self._model.run_by_index(
            signature.index,
            [buffers[name] for name in signature.inputs],
            [buffers[name] for name in signature.outputs],
        )
        self._position += call.count

    def _refuse_closed(self) -> None:
        if self._model is None:
            raise closed()


def signatures_of(model: Any) -> dict[str, SignatureShapes]:
    """What a compiled model's signatures take and return."""
    return {
        name: SignatureShapes(
            _shapes(model.get_input_tensor_details(name)), _shapes(model.get_output_tensor_details(name))
        )
        for name in model.get_signature_list()
    }


def _shapes(details: Mapping[str, Any]) -> dict[str, tuple[int, ...]]:
    return {name: tuple(int(side) for side in entry["shape"]) for name, entry in details.items()}
