"""`LiteRtMultimodalSession`: the decoder of a .litertlm whose prompts may hold images, on the CPU.

Not about the tower (`image_encoder`) or where a prompt is cut (`image_calls`).
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from runtimes.errors import SessionError
from runtimes.litert.calls import PREFILL, GraphCall
from runtimes.litert.embedders import EMBEDDINGS
from runtimes.litert.facts import prefill_lengths
from runtimes.litert.image_calls import ImageCalls
from runtimes.litert.session import LiteRtSession, Signature
from runtimes.multimodal.session import PlacedRows
from runtimes.session import Logits, Tokens


class LiteRtMultimodalSession(LiteRtSession):
    """Satisfies `MultimodalSession`. `open` makes one, of a bundle with image models."""

    _long: Signature | None = None

    def prefill_with_rows(self, tokens: Tokens, placed: Sequence[PlacedRows]) -> Logits:
        self._refuse_closed()
        ids = self._facts.tokens_at(self._position, tokens)
        for each in placed:
            self._require_width(each)
        longest = max(prefill_lengths(self._model.get_signature_list())) if self._masks.blocks else None
        for call in ImageCalls(self._facts, longest).of(ids, self._position, placed):
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

    def _require_width(self, placed: PlacedRows) -> None:
        embedder = self._embedders.get(EMBEDDINGS)
        if embedder is None:
            raise SessionError("this release takes no images; export with the image tower")
        width = embedder.shape[-1]
        if placed.rows.ndim != 2 or placed.rows.shape[1] != width:
            raise SessionError(f"rows are [rows, {width}], got {list(placed.rows.shape)}")
