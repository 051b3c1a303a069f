"""`OnnxMultimodalSession`: prompts with images and sounds, by an embedding graph and a decoder of what it
makes.

Caches and positions are `OnnxSession`'s. Not about where rows come from (`image_encoder`,
`sound_encoder`).
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from runtimes.encoder import EncodedRows
from runtimes.errors import ArtifactError
from runtimes.excerpt import plain_excerpt
from runtimes.multimodal.placing import calls_around, require_placed, rows_within
from runtimes.multimodal.session import PlacedRows, RowKind
from runtimes.onnx.session import IDS, MASK, METADATA, OnnxSession, inference_session, require_inputs
from runtimes.opening import EncoderOpening
from runtimes.session import Logits, Tokens

EMBEDDED, PER_LAYER = "inputs_embeds", "per_layer_inputs"
# Of each kind of rows: the embedding graph's input, and where the decoder says which token stands for one.
FEATURES: dict[RowKind, str] = {"image": "image_features", "sound": "audio_features"}
SOFT_TOKENS: dict[RowKind, str] = {"image": "image_token", "sound": "audio_token"}
# What stands beside a decoder, by the first part of its name: for processors, for browsers.
EMBEDDINGS = {"decoder_model_merged": "embed_tokens", "decoder": "embedding"}


class OnnxMultimodalSession(OnnxSession):
    """Satisfies `MultimodalSession`. Raises as `OnnxSession` does."""

    given = frozenset({IDS, MASK, EMBEDDED, PER_LAYER})

    def __init__(self, opening: EncoderOpening) -> None:
        path = opening.release / opening.encoder.decoder
        super().__init__(path, opening.threads)
        beside = _beside(path)
        self._embedding: Any = inference_session(beside, opening.threads)
        require_inputs(beside, self._embedding, {IDS, *FEATURES.values()})
        self._width = opening.encoder.width
        self._embedded = [value.name for value in self._embedding.get_outputs()]
        self._require_embedded(beside)
        taken = {value.name for value in self._embedding.get_inputs()}
        self._merged = {kind: name for kind, name in FEATURES.items() if name in taken}
        self._soft = self._soft_tokens(path)
        self._rows = self._none()

    def prefill_with_rows(self, tokens: Tokens, placed: Sequence[PlacedRows]) -> Logits:
        self._refuse_closed()
        ids = self._facts.tokens_at(self._position, tokens)
        ordered = sorted(placed, key=lambda each: each.start)
        require_placed(ids, ordered, self._soft, self._width)
        every = self._facts.prefill_logits == "all"
        logits = np.empty((len(ids) if every else 1, self._facts.vocab_size), np.float32)
        try:
            for start, stop in calls_around(ordered, len(ids), self._facts.prefill_chunk):
                self._rows = self._none() | {
                    kind: np.concatenate(rows, dtype=np.float32)
                    for kind in self._soft
                    if (
                        rows := [each.rows for each in rows_within(ordered, start, stop) if each.of == kind]
                    )
                }
                self._run(ids[start:stop], logits[start:stop] if every else logits)
        finally:
            self._rows = self._none()
        return logits

    def close(self) -> None:
        super().close()
        self._embedding = None

    def _inputs(self, tokens: Tokens) -> dict[str, NDArray[Any]]:
        ids = super()._inputs(tokens)
        asked = {IDS: ids[IDS]} | {name: self._rows[kind] for kind, name in self._merged.items()}
        found = dict(zip(self._embedded, self._embedding.run(self._embedded, asked), strict=True))
        for kind in self._soft.keys() - self._merged.keys():
            # As transformers.js does; rows of images have a mark behind them where rows of tokens have.
            rows, hits = found[EMBEDDED][0], np.flatnonzero(tokens == self._soft[kind])
            if len(self._rows[kind]):
                rows[hits, : self._width] = self._rows[kind]
                rows[hits, self._width :] = 1.0 if kind == "image" else 0.0
        if IDS not in self._wanted:
            del ids[IDS]
        return ids | found

    def _require_embedded(self, path: Path) -> None:
        """Raise ArtifactError for an embedding graph that makes other things than the decoder takes."""
        due, found = self._wanted & {EMBEDDED, PER_LAYER}, set(self._embedded)
        if found != due:
            raise ArtifactError(
                f"{path}: makes {plain_excerpt(sorted(found))}, and its decoder takes {sorted(due)}; copy "
                "the release again"
            )

    def _none(self) -> dict[RowKind, EncodedRows]:
        return {kind: np.empty((0, self._width), np.float32) for kind in self._soft}

    def _soft_tokens(self, path: Path) -> dict[RowKind, int]:
        """Of the kinds of rows that the decoder takes."""
        said = {kind: self.metadata.get(f"{METADATA}{key}") for kind, key in SOFT_TOKENS.items()}
        found = {kind: text for kind, text in said.items() if text is not None}
        if not found or not all(text.isascii() and text.isdigit() for text in found.values()):
            raise ArtifactError(
                f"{path}: does not say which tokens stand for rows; it was not written by gemma-export, "
                "export again"
            )
        return {kind: int(text) for kind, text in found.items()}


def _beside(decoder: Path) -> Path:
    """The embedding graph of a decoder."""
    for name, embedding in EMBEDDINGS.items():
        if decoder.name.startswith(name):
            return decoder.with_name(embedding + decoder.name.removeprefix(name))
    raise ArtifactError(f"{decoder}: is no decoder that takes rows; name one of {sorted(EMBEDDINGS)}")
