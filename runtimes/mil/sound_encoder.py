"""`MilSoundEncoder`: an audio encoder's package behind the `SoundEncoder` interface.

Not about running it (`tower_encoder`), nor about sounds: it knows the names `features` and `soundRows` of
the program, which takes any length up to its longest.
"""

from __future__ import annotations

from runtimes.encoder import EncodedRows
from runtimes.mil.tower_encoder import MilTowerEncoder
from runtimes.sounds.prepared import PreparedSound


class MilSoundEncoder(MilTowerEncoder):
    """Satisfies `SoundEncoder`."""

    name, given = "an audio encoder", "a sound"
    inputs, output = ("features",), "soundRows"

    def rows(self, sound: PreparedSound) -> EncodedRows:
        return self._rows({"features": sound.features}, sound.soft_tokens)
