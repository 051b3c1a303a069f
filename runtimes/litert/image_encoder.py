"""`LiteRtImageEncoder`: the image tower of a .litertlm behind the `ImageEncoder` interface, on the CPU.

Runs the bundle's encoder and, where there is one, its adapter, as LiteRT-LM does. Not about reading
pictures, nor about the decoder (`multimodal_session`).
"""

from __future__ import annotations

import importlib.metadata
from pathlib import Path
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from runtimes.encoder import ArrayFacts, EncodedRows, EncoderFacts
from runtimes.errors import EncoderError
from runtimes.images.prepared import PreparedImage
from runtimes.litert.encoder_models import EncoderModel, Needed, OpenedModels, TowerFiles, open_tower
from runtimes.litert.image_models import (
    ADAPTED,
    FEATURES,
    IMAGES,
    PATCH_POSITIONS,
    SOFT_TOKENS,
    VISION_ADAPTER,
    VISION_ENCODER,
)

FILES = TowerFiles(
    {
        VISION_ENCODER: Needed(frozenset({IMAGES}), frozenset({FEATURES})),
        VISION_ADAPTER: Needed(frozenset({SOFT_TOKENS}), frozenset({ADAPTED})),
    },
    "image tower",
)


class LiteRtImageEncoder:
    """Satisfies `ImageEncoder`. `open` makes one."""

    def __init__(self, opened: OpenedModels) -> None:
        self._opened, self._closed = opened, False
        self._encoder = encoder = opened.models[VISION_ENCODER]
        self._adapter = adapter = opened.models.get(VISION_ADAPTER)
        self.soft_tokens, self.width = _rows_of(encoder, adapter)
        self._facts = EncoderFacts(
            runtime="LiteRT",
            version=importlib.metadata.version("ai-edge-litert"),
            arithmetic=opened.arithmetic,
            inputs=_taken(encoder),
            outputs={"rows": ArrayFacts((self.soft_tokens, self.width), np.dtype(np.float32))},
        )

    @classmethod
    def open(cls, path: Path, *, threads: int = 2, scratch: Path | None = None) -> Self:
        """As `encoder_models.open_tower` does, for the image tower."""
        return cls(open_tower(path, FILES, threads, scratch))

    @property
    def facts(self) -> EncoderFacts:
        return self._facts

    def rows(self, image: PreparedImage) -> EncodedRows:
        if self._closed:
            raise EncoderError("the encoder is closed; open the artifact again")
        given = self._given(image)
        found = self._encoder.run(given, FEATURES)
        if self._adapter is not None:
            found = self._adapter.run({SOFT_TOKENS: found}, ADAPTED)
        rows: EncodedRows = found[0, : image.soft_tokens].copy()
        return rows

    def close(self) -> None:
        if self._closed:
            return
        self._closed = True
        self._opened.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()

    def _given(self, image: PreparedImage) -> dict[str, NDArray[Any]]:
        """The encoder's inputs, padded."""
        shape = self._encoder.takes[IMAGES]
        if (PATCH_POSITIONS in self._encoder.takes) != (image.positions is not None):
            raise EncoderError("the picture was prepared for another kind of tower; follow its own release")
        if image.soft_tokens > self.soft_tokens:
            raise EncoderError(
                f"a picture of {image.soft_tokens} soft tokens, and this tower makes {self.soft_tokens} at "
                "most; prepare it with fewer"
            )
        if image.positions is None:
            wanted = (1, shape[3], *shape[1:3])
            if image.pixels.shape != wanted:
                raise EncoderError(f"pixels are {list(wanted)}, got {list(image.pixels.shape)}")
            # LiteRT-LM gives values in [0, 1], channels last.
            return {IMAGES: image.pixels.transpose(0, 2, 3, 1) * np.float32(0.5) + np.float32(0.5)}
        count = image.pixels.shape[1]
        if image.pixels.shape != (1, count, shape[2]) or count > shape[1]:
            raise EncoderError(
                f"pixels are [1, {shape[1]} or fewer, {shape[2]}], got {list(image.pixels.shape)}"
            )
        square = shape[1] // self.soft_tokens  # patches of a soft token
        if count != square * image.soft_tokens:
            raise EncoderError(
                f"{count} patches are not {square} for each of {image.soft_tokens} soft tokens; prepare "
                "the picture with the processing of this release"
            )
        pixels, positions = np.zeros(shape, np.float32), np.full((1, shape[1], 2), -1, np.int32)
        pixels[:, :count], positions[:, :count] = image.pixels, image.positions
        return {IMAGES: pixels, PATCH_POSITIONS: positions}


def _rows_of(encoder: EncoderModel, adapter: EncoderModel | None) -> tuple[int, int]:
    """How many soft tokens come out, and how wide they are. A Gemma 3's adapter gives the end of the image
    too."""
    if adapter is None:
        rows, width = encoder.gives[FEATURES][1:]
        return rows, width
    rows, width = adapter.gives[ADAPTED][1:]
    return (rows if PATCH_POSITIONS in encoder.takes else rows - 1), width


def _taken(encoder: EncoderModel) -> dict[str, ArrayFacts]:
    """By the names of `PreparedImage.arrays`."""
    shape = encoder.takes[IMAGES]
    if PATCH_POSITIONS not in encoder.takes:
        return {"pixels": ArrayFacts((1, shape[3], *shape[1:3]), np.dtype(np.float32))}
    return {
        "pixels": ArrayFacts(shape, np.dtype(np.float32)),
        "positions": ArrayFacts(encoder.takes[PATCH_POSITIONS], np.dtype(np.int32)),
    }
