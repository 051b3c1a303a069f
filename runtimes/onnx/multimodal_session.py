"""`OnnxMultimodalSession`: prompts with images, by an embedding graph and a decoder of what it makes.

Caches and positions are `OnnxSession`'s. Not about where rows of images come from (`image_encoder`).
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from runtimes.encoder import EncodedRows
from runtimes.errors import ArtifactError
from runtimes.multimodal.placing import calls_around, require_placed, rows_within
from runtimes.multimodal.session import PlacedRows
from runtimes.onnx.session import METADATA, OnnxSession, inference_session
from runtimes.opening import EncoderOpening
from runtimes.session import Logits, Tokens

IDS, EMBEDDED, FEATURES = "input_ids", "inputs_embeds", "image_features"
# What stands beside a decoder, by the first part of its name: for processors, for browsers.
EMBEDDINGS = {"decoder_model_merged": "embed_tokens", "decoder": "embedding"}


class OnnxMultimodalSession(OnnxSession):
    """Satisfies `MultimodalSession`. Raises as `OnnxSession` does."""

    def __init__(self, opening: EncoderOpening) -> None:
        path = opening.release / opening.encoder.decoder
        super().__init__(path, opening.threads)
        self._embedding: Any = inference_session(_beside(path), opening.threads)
        self._width = opening.encoder.width
        self._embedded = [value.name for value in self._embedding.get_outputs()]
        self._merges = FEATURES in {value.name for value in self._embedding.get_inputs()}
        try:
            self._soft = int(self.metadata[f"{METADATA}image_token"])
        except (KeyError, ValueError) as error:
            raise ArtifactError(
                f"{path}: says nothing of {error}; it was not written by gemma-export, export again"
            ) from error
        self._features = self._none()

    def prefill_with_rows(self, tokens: Tokens, placed: Sequence[PlacedRows]) -> Logits:
        self._refuse_closed()
        ids = self._facts.tokens_at(self._position, tokens)
        ordered = sorted(placed, key=lambda each: each.start)
        require_placed(ids, ordered, {"image": self._soft}, self._width)
        every = self._facts.prefill_logits == "all"
        logits = np.empty((len(ids) if every else 1, self._facts.vocab_size), np.float32)
        try:
            for start, stop in calls_around(ordered, len(ids), self._facts.prefill_chunk):
                inside = [each.rows for each in rows_within(ordered, start, stop)]
                self._features = np.concatenate(inside, dtype=np.float32) if inside else self._none()
                self._run(ids[start:stop], logits[start:stop] if every else logits)
        finally:
            self._features = self._none()
        return logits

    def close(self) -> None:
        super().close()
        self._embedding = None

    def _inputs(self, tokens: Tokens) -> dict[str, NDArray[Any]]:
        ids = super()._inputs(tokens)
        asked = {IDS: ids[IDS], FEATURES: self._features} if self._merges else {IDS: ids[IDS]}
        found = dict(zip(self._embedded, self._embedding.run(self._embedded, asked), strict=True))
        if not self._merges and len(self._features):
            # As transformers.js does; rows of images have a mark behind them where rows of tokens have.
            rows, hits = found[EMBEDDED][0], np.flatnonzero(tokens == self._soft)
            rows[hits, : self._width], rows[hits, self._width :] = self._features, 1.0
        if IDS not in self._wanted:
            del ids[IDS]
        return ids | found

    def _none(self) -> EncodedRows:
        return np.empty((0, self._width), np.float32)


def _beside(decoder: Path) -> Path:
    """The embedding graph of a decoder."""
    for name, embedding in EMBEDDINGS.items():
        if decoder.name.startswith(name):
            return decoder.with_name(embedding + decoder.name.removeprefix(name))
    raise ArtifactError(f"{decoder}: is no decoder that takes images; name one of {sorted(EMBEDDINGS)}")
