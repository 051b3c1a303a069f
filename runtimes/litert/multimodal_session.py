"""`LiteRtMultimodalSession`: a .litertlm's decoder whose prompts may hold images and sounds, on the CPU.

Not about the towers (`image_encoder`, `sound_encoder`) or where a prompt is cut (`placed_calls`).
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Self

import numpy as np

from runtimes.errors import SessionError
from runtimes.litert.calls import PREFILL, GraphCall
from runtimes.litert.container import is_container, tower_models
from runtimes.litert.embedders import EMBEDDINGS
from runtimes.litert.facts import prefill_lengths
from runtimes.litert.image_models import VISION_ENCODER
from runtimes.litert.placed_calls import PlacedCalls
from runtimes.litert.session import LiteRtSession, Signature
from runtimes.litert.sound_models import AUDIO_ENCODER
from runtimes.multimodal.placing import ROWS_OF
from runtimes.multimodal.session import PlacedRows, RowKind
from runtimes.session import Logits, Tokens

TOWERS: dict[RowKind, str] = {"image": VISION_ENCODER, "sound": AUDIO_ENCODER}


class LiteRtMultimodalSession(LiteRtSession):
    """Satisfies `MultimodalSession`. `open` makes one, of a bundle with models for images or sounds."""

    _long: Signature | None = None
    _kinds: frozenset[RowKind] = frozenset()

    @classmethod
    def open(cls, path: Path, *, threads: int = 2, scratch: Path | None = None) -> Self:
        towers = tower_models(path) if is_container(path) else {}
        session = super().open(path, threads=threads, scratch=scratch)
        session._kinds = frozenset(kind for kind, tower in TOWERS.items() if tower in towers)
        return session

    def prefill_with_rows(self, tokens: Tokens, placed: Sequence[PlacedRows]) -> Logits:
        self._refuse_closed()
        ids = self._facts.tokens_at(self._position, tokens)
        for each in placed:
            self._require_taken(each)
        longest = max(prefill_lengths(self._model.get_signature_list())) if self._masks.blocks else None
        for call in PlacedCalls(self._facts, longest).of(ids, self._position, placed):
            self._run(self._signature_of(call), call)
        return np.empty((0, self._facts.vocab_size), np.float32)

    def close(self) -> None:
        if self._model is not None and self._long is not None:
            for buffer in self._long.buffers.values():
                buffer.destroy()
            self._long = None
        super().close()

    def _signature_of(self, call: GraphCall) -> Signature:
        match call.signature:
            case "decode":
                return self._decode
            case "prefill":
                return self._prefill
            case "prefill with images":
                if self._long is None:
                    self._long = self._signature(f"{PREFILL}{len(call.tokens)}")
                return self._long

    def _require_taken(self, placed: PlacedRows) -> None:
        embedder = self._embedders.get(EMBEDDINGS)
        if embedder is None or placed.of not in self._kinds:
            raise SessionError(f"this release takes no {placed.of}s; export it with --components all")
        width = embedder.shape[-1]
        if placed.rows.ndim != 2 or placed.rows.shape[1] != width:
            raise SessionError(
                f"rows of {ROWS_OF[placed.of]} are [rows, {width}], got {list(placed.rows.shape)}"
            )
