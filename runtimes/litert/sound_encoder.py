"""`LiteRtSoundEncoder`: the audio encoder of a .litertlm behind the `SoundEncoder` interface, on the CPU.

Runs the bundle's encoder and its adapter, as LiteRT-LM does. A sound longer than a call of the encoder is
cut; each further call begins as many soft tokens earlier as one may be made of, so that every row is what
it would be of the whole sound. LiteRT-LM does not do that. Not about reading sounds, nor about the decoder
(`multimodal_session`).
"""

from __future__ import annotations

import importlib.metadata
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Self

import numpy as np

from runtimes.encoder import ArrayFacts, EncodedRows, EncoderFacts
from runtimes.errors import ArtifactError, EncoderError
from runtimes.litert.encoder_models import Needed, OpenedModels, TowerFiles, open_tower
from runtimes.litert.model_file import in_model
from runtimes.litert.sound_models import (
    AUDIO_ADAPTER,
    AUDIO_ENCODER,
    FEATURES,
    SOUND,
    SOUND_MASK,
    SoundCalls,
)
from runtimes.sounds.prepared import PreparedSound

FILES = TowerFiles(
    {
        AUDIO_ENCODER: Needed(frozenset({SOUND, SOUND_MASK}), frozenset({FEATURES})),
        AUDIO_ADAPTER: Needed(frozenset({FEATURES, SOUND_MASK}), frozenset({FEATURES})),
    },
    "audio encoder",
)


@dataclass(frozen=True)
class SoundPart:
    """Soft tokens `start` to `stop` of a sound, in one call. new: where those that no call before gave
    begin."""

    start: int
    new: int
    stop: int


def sound_parts(count: int, length: int, lookback: int) -> Iterator[SoundPart]:
    """The calls, of `length` soft tokens, for a sound of `count`."""
    new = 0
    while new < count:
        start = max(0, new - lookback)
        stop = min(count, start + length)
        yield SoundPart(start, new, stop)
        new = stop


class LiteRtSoundEncoder:
    """Satisfies `SoundEncoder`. `open` makes one."""

    def __init__(self, opened: OpenedModels, soft_tokens: int, calls: SoundCalls) -> None:
        self._opened, self._closed = opened, False
        self._encoder, self._adapter = (opened.models[name] for name in (AUDIO_ENCODER, AUDIO_ADAPTER))
        _, frames, self._numbers = self._encoder.takes[SOUND]
        _, length, width = self._adapter.gives[FEATURES]
        self._per_token = frames // length
        self._longest_call = length - -(-calls.silence // self._per_token)
        self._soft_tokens, self._calls = soft_tokens, calls
        longest = (1, soft_tokens * self._per_token, self._numbers)
        self._facts = EncoderFacts(
            runtime="LiteRT",
            version=importlib.metadata.version("ai-edge-litert"),
            arithmetic=opened.arithmetic,
            inputs={"features": ArrayFacts(longest, np.dtype(np.float32))},
            outputs={"rows": ArrayFacts((soft_tokens, width), np.dtype(np.float32))},
        )

    @classmethod
    def open(cls, path: Path, soft_tokens: int, *, threads: int = 2, scratch: Path | None = None) -> Self:
        """As `encoder_models.open_tower` does, for the encoder. soft_tokens: of the longest sound."""
        return cls.of(open_tower(path, FILES, threads, scratch), path, soft_tokens)

    @classmethod
    def of(cls, opened: OpenedModels, path: Path, soft_tokens: int) -> Self:
        """Of models that are open; they are closed where it raises ArtifactError, naming `path`."""
        try:
            if AUDIO_ADAPTER not in opened.models:
                raise ArtifactError(f"{path}: has nothing behind its audio encoder; export it again")
            said = in_model(path, opened.files[AUDIO_ENCODER], lambda model: model.Description())
            found = cls(opened, soft_tokens, SoundCalls.said_by(said))
            if found._longest_call <= found._calls.lookback and found._longest_call < soft_tokens:
                raise ArtifactError(
                    f"{path}: calls of {found._longest_call} soft tokens, with {found._calls}, give "
                    "nothing new of a longer sound; export it again"
                )
        except BaseException:
            opened.close()
            raise
        return found

    @property
    def facts(self) -> EncoderFacts:
        """Inputs and outputs are those of the longest sound; frames may be fewer."""
        return self._facts

    def rows(self, sound: PreparedSound) -> EncodedRows:
        if self._closed:
            raise EncoderError("the encoder is closed; open the artifact again")
        self._require_taken(sound)
        cut = sound_parts(sound.soft_tokens, self._longest_call, self._calls.lookback)
        found = [self._rows(sound, part) for part in cut]
        rows: EncodedRows = np.concatenate(found)
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

    def _rows(self, sound: PreparedSound, part: SoundPart) -> EncodedRows:
        given = sound.features[:, part.start * self._per_token : part.stop * self._per_token]
        silence = self._calls.silence
        stop = silence + given.shape[1]
        features = np.zeros(self._encoder.takes[SOUND], np.float32)
        mask = np.zeros(self._encoder.takes[SOUND_MASK], np.bool_)
        features[:, silence:stop], mask[..., :stop] = given, True
        encoded = self._encoder.run({SOUND: features, SOUND_MASK: mask}, FEATURES)
        audible = np.zeros(self._adapter.takes[SOUND_MASK], np.bool_)
        audible[:, : part.stop - part.start] = True
        found = self._adapter.run({FEATURES: encoded, SOUND_MASK: audible}, FEATURES)
        rows: EncodedRows = found[0, part.new - part.start : part.stop - part.start].copy()
        return rows

    def _require_taken(self, sound: PreparedSound) -> None:
        shape = sound.features.shape
        if len(shape) != 3 or (shape[0], shape[2]) != (1, self._numbers) or not shape[1]:
            raise EncoderError(f"features are [1, frames, {self._numbers}], got {list(shape)}")
        if sound.soft_tokens != -(-shape[1] // self._per_token):
            raise EncoderError(
                f"{shape[1]} frames are not {sound.soft_tokens} soft tokens; prepare the sound as the "
                "release's sound_processing.json says"
            )
        if sound.soft_tokens > self._soft_tokens:
            raise EncoderError(
                f"a sound of {sound.soft_tokens} soft tokens, and this encoder makes {self._soft_tokens} "
                "at most; give a shorter one"
            )
