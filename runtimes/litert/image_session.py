"""`LiteRtImageSession`: the decoder of a .litertlm whose prompts may hold images, on the CPU.

Not about the tower (`image_encoder`) or where a prompt is cut (`image_calls`).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Self

import numpy as np

from runtimes.errors import ArtifactError
from runtimes.images.placing import require_placed
from runtimes.images.processing import read_processing
from runtimes.images.session import PlacedImage
from runtimes.litert.calls import PREFILL, GraphCall
from runtimes.litert.embedders import EMBEDDINGS
from runtimes.litert.facts import prefill_lengths
from runtimes.litert.image_calls import ImageCalls
from runtimes.litert.session import LiteRtSession, Signature
from runtimes.opening import ImageOpening
from runtimes.session import Logits, Tokens


class LiteRtImageSession(LiteRtSession):
    """Satisfies `ImageSession`. `of_release` makes one, of a bundle with image models."""

    _long: Signature | None = None
    _soft: int

    @classmethod
    def of_release(cls, opening: ImageOpening) -> Self:
        """LiteRT-LM gives all images one id of its own, so that no bundle says which stands for one here:
        the release does. Raises as `open`, ProcessingError as `read_processing`, and ArtifactError for a
        bundle that takes text alone."""
        soft = read_processing(opening.release).marks.soft
        path = opening.release / opening.encoder.decoder
        session = cls.open(path, threads=opening.threads)
        if EMBEDDINGS not in session._embedders:
            session.close()
            raise ArtifactError(f"{path}: takes text alone; export again with the image tower")
        session._soft = soft
        return session

    def prefill_with_images(self, tokens: Tokens, images: Sequence[PlacedImage]) -> Logits:
        self._refuse_closed()
        ids = self._facts.tokens_at(self._position, tokens)
        placed = sorted(images, key=lambda image: image.start)
        require_placed(ids, placed, self._soft, self._embedders[EMBEDDINGS].shape[-1])
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
