"""`OnnxSoundEncoder`: an audio encoder as an ONNX graph, run by ONNX Runtime on the CPU.

Not about spectra, or onnxruntime-genai, which runs the same file.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from runtimes.encoder import ArrayFacts, EncodedRows
from runtimes.errors import ArtifactError
from runtimes.onnx.tower_encoder import OnnxEncoder, TowerWords
from runtimes.sounds.prepared import PreparedSound
from runtimes.sounds.processing import SOUND_PROCESSING_NAME

SPECTRUM, MASK, FEATURES = "input_features", "input_features_mask", "audio_features"


class OnnxSoundEncoder(OnnxEncoder):
    """Satisfies `SoundEncoder`."""

    words = TowerWords("sound", "frames", FEATURES, SOUND_PROCESSING_NAME)

    def rows(self, sound: PreparedSound) -> EncodedRows:
        self._require_taken({"features": sound.features}, sound.soft_tokens)
        given = {SPECTRUM: sound.features, MASK: np.ones(sound.features.shape[:2], np.bool_)}
        return self._encoded(given, sound.soft_tokens)

    def _largest(self, path: Path, sides: Mapping[str, Any]) -> dict[str, ArrayFacts]:
        if SPECTRUM not in sides:
            raise ArtifactError(f"{path}: takes no sounds; export again")
        longest = (1, self._count(path, "frames"), sides[SPECTRUM][2])
        return {"features": ArrayFacts(longest, np.dtype(np.float32))}
