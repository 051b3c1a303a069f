"""What the models of a bundle that sounds go through are called, and their signatures, inputs and outputs.

LiteRT-LM's own names. Also how an encoder's file says what a caller has to know. Not about running them
(`sound_encoder`).
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Self

AUDIO_ENCODER, AUDIO_ADAPTER = "tf_lite_audio_encoder_hw", "tf_lite_audio_adapter"
END_OF_AUDIO = "tf_lite_end_of_audio"
AUDIO = (AUDIO_ENCODER, AUDIO_ADAPTER, END_OF_AUDIO)

# Signatures; behind the first two stands how many soft tokens come out.
ENCODER_SIGNATURE, ADAPTER_SIGNATURE, END_SIGNATURE = "audio_", "audio_adapter_", "eoa"
SOUND, SOUND_MASK, FEATURES, END = "src_inputs", "mask", "features", "eoa_embedding"

_DESCRIBED = "{silence} frames of silence before a sound, {lookback} soft tokens looked back"
_SAID = re.compile(rb"(\d{1,4}) frames of silence before a sound, (\d{1,4}) soft tokens looked back")


@dataclass(frozen=True)
class SoundCalls:
    """How an encoder wants to be called, as its file says.

    silence: frames of zeros that every call begins with, of which nothing comes out. lookback: of how many
    soft tokens before it one may be made; a caller who cuts a sound gives so many of them again.
    """

    silence: int
    lookback: int

    def __str__(self) -> str:
        return _DESCRIBED.format(silence=self.silence, lookback=self.lookback)

    @classmethod
    def said_by(cls, description: bytes | None) -> Self:
        """Of a file that says nothing: neither."""
        found = _SAID.fullmatch(description or b"")
        return cls(0, 0) if found is None else cls(int(found[1]), int(found[2]))
