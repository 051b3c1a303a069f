"""Sounds as a processor leaves them, for tiny releases that hear.

What those of every format have in common. Not about lowering them (`hearing_releases` of each lowering) or
sound files.
"""

from __future__ import annotations

from exporter.models.audio.spec import AudioSpec
from runtimes.sounds.prepared import PreparedSound
from tests.tiny_encoders import random_features

LONGEST = 20  # soft tokens of a sound, at most


def sound(spec: AudioSpec, soft_tokens: int = 11) -> PreparedSound:
    """Noise without padding, the last token of a conformer's made of three frames."""
    frames = 4 * soft_tokens - 1 if spec.model_type == "gemma4_audio" else soft_tokens
    found = random_features(spec, frames, frames)
    return PreparedSound(found.features.numpy(), found.count)
