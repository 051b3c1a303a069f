"""`LiteRtMultimodalSession`: a .litertlm's decoder whose prompts may hold images and sounds, on the CPU.

Not about the towers (`image_encoder`, `sound_encoder`) or where a prompt is cut (`placed_calls`).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Self

import numpy as np

from runtimes.errors import ArtifactError
from runtimes.images.processing import read_processing
from runtimes.litert.container import is_container, tower_models
from runtimes.litert.embedders import EMBEDDINGS
from runtimes.litert.image_models import VISION_ENCODER
from runtimes.litert.placed_calls import PlacedCalls
from runtimes.litert.session import LiteRtSession
from runtimes.litert.sound_models import AUDIO_ENCODER
from runtimes.multimodal.placing import SoftTokens, require_placed
from runtimes.multimodal.session import PlacedRows, RowKind
from runtimes.opening import EncoderOpening
from runtimes.session import Logits, Tokens
from runtimes.sounds.processing import read_sound_processing

TOWERS: dict[RowKind, str] = {"image": VISION_ENCODER, "sound": AUDIO_ENCODER}
SOFT_TOKENS: dict[RowKind, Callable[[Path], int]] = {
    "image": lambda release: read_processing(release).marks.soft,
    "sound": lambda release: read_sound_processing(release).marks.soft,
}


class LiteRtMultimodalSession(LiteRtSession):
    """Satisfies `MultimodalSession`. `of_release` makes one, of a bundle with models for images or
    sounds."""

    _soft: SoftTokens

    @classmethod
    def of_release(cls, opening: EncoderOpening) -> Self:
        """Raises as `open`, ProcessingError as `ids_for_rows`, and ArtifactError for a bundle that takes
        text alone."""
        path = opening.release / opening.encoder.decoder
        soft = ids_for_rows(opening.release, path)
        session = cls.open(path, threads=opening.threads)
        session.take_rows(path, soft)
        return session

    def take_rows(self, path: Path, soft: SoftTokens) -> None:
        """soft: the ids that stand for rows from now on. Closed, and ArtifactError naming `path`, where it
        takes text alone."""
        if not soft or EMBEDDINGS not in self._embedders:
            self.close()
            raise ArtifactError(f"{path}: takes text alone; export it again without --components")
        self._soft = soft

    def prefill_with_rows(self, tokens: Tokens, placed: Sequence[PlacedRows]) -> Logits:
        self._refuse_closed()
        ids = self._facts.tokens_at(self._position, tokens)
        ordered = sorted(placed, key=lambda each: each.start)
        require_placed(ids, ordered, self._soft, self._embedders[EMBEDDINGS].shape[-1])
        for call in PlacedCalls(self._facts, self._masks.blocks).of(ids, self._position, ordered):
            self._run(self._decode if call.signature == "decode" else self._prefill, call)
        return np.empty((0, self._facts.vocab_size), np.float32)


def ids_for_rows(release: Path, path: Path) -> SoftTokens:
    """The ids that stand for rows of a bundle's towers. LiteRT-LM gives images and sounds ids of its own,
    so that no bundle says it: the release does. Raises ProcessingError as reading what it says."""
    towers = tower_models(path) if is_container(path) else {}
    return {kind: SOFT_TOKENS[kind](release) for kind, each in TOWERS.items() if each in towers}
