"""Named stand-ins that hear: audio encoders in plain torch over an archive's weights.

The wrong ones do each what goes wrong in a conversion: frames in reverse order, spectra of power, another
sound's rows, sounds that are seen both ways, rows per layer of the id that stands for a sound. Not about
decoders that are right (`tests.sensing`).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import torch
from torch import Tensor

from exporter.models.audio.eager import EagerAudio
from exporter.models.audio.rows import sound_rows
from exporter.models.audio.spec import AudioSpec
from runtimes.encoder import EncodedRows
from runtimes.multimodal.session import PlacedRows
from runtimes.sounds.prepared import PreparedSound
from tests.sensing import EagerArchive, EagerMultimodalSession


class EagerEncoder(EagerArchive[AudioSpec]):
    """Satisfies `SoundEncoder` with an encoder in plain torch."""

    def rows(self, sound: PreparedSound) -> EncodedRows:
        features = torch.as_tensor(sound.features)
        frames = torch.ones(features.shape[:2], dtype=torch.bool)
        with torch.no_grad():
            rows: EncodedRows = sound_rows(self.spec, EagerAudio(self.weights), features, frames)[0].numpy()
        return rows


class FramesReversed(EagerEncoder):
    """Hears the end first."""

    def rows(self, sound: PreparedSound) -> EncodedRows:
        return super().rows(replace(sound, features=sound.features[:, ::-1].copy()))


class SpectraOfPower(EagerEncoder):
    """Squares what is a magnitude, which doubles its logarithm."""

    def rows(self, sound: PreparedSound) -> EncodedRows:
        return super().rows(replace(sound, features=sound.features * 2))


class OneForAll(EagerEncoder):
    """Gives the first sound's rows, as many as are due, for every other one."""

    def rows(self, sound: PreparedSound) -> EncodedRows:
        self.first = getattr(self, "first", sound)
        return super().rows(self.first)[: sound.soft_tokens]


class SoundsBothWays(EagerMultimodalSession):
    """Lets the tokens of a sound see each other as those of an image do."""

    both_ways = frozenset({"image", "sound"})


class RowsPerLayerOfTheId(EagerMultimodalSession):
    """Adds for each layer what the id that stands for a sound has, not what the pad token has."""

    def per_layer(self, looked_up: Tensor, given: Tensor) -> Tensor:
        return given


class Scaled(EagerMultimodalSession):
    """Scales rows as embeddings of tokens are."""

    def placed(self, placed: Sequence[PlacedRows]) -> Sequence[PlacedRows]:
        return [replace(each, rows=each.rows * self.spec.hidden_size**0.5) for each in placed]
