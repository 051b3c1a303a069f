"""`CoreMlSoundEncoder`: an audio encoder's package, run by Apple's Core ML.

Input and output are those of `runtimes.mil.sound_encoder`: `features` of any length, `soundRows`. Not about
running it (`tower_encoder`), nor about sounds.
"""

from __future__ import annotations

from runtimes.coreml.tower_encoder import CoreMlTowerEncoder
from runtimes.encoder import EncodedRows
from runtimes.sounds.prepared import PreparedSound


class CoreMlSoundEncoder(CoreMlTowerEncoder):
    """Satisfies `SoundEncoder`."""

    name, given, output = "an audio encoder", "a sound", "soundRows"

    def rows(self, sound: PreparedSound) -> EncodedRows:
        return self._rows({"features": sound.features}, sound.soft_tokens)
