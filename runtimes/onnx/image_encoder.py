"""`OnnxImageEncoder`: an image tower as an ONNX graph, run by ONNX Runtime on the CPU.

Not about cutting pictures up, or onnxruntime-genai, which runs the same file.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from runtimes.encoder import ArrayFacts, EncodedRows
from runtimes.errors import ArtifactError
from runtimes.images.prepared import PreparedImage
from runtimes.images.processing import PROCESSING_NAME
from runtimes.onnx.tower_encoder import OnnxEncoder, TowerWords

PIXELS, POSITIONS, FEATURES = "pixel_values", "pixel_position_ids", "image_features"


class OnnxImageEncoder(OnnxEncoder):
    """Satisfies `ImageEncoder`."""

    words = TowerWords("picture", "patches", FEATURES, PROCESSING_NAME)
    marked_on_the_web = True

    def rows(self, image: PreparedImage) -> EncodedRows:
        self._require_taken(image.arrays, image.soft_tokens)
        given = {PIXELS: image.pixels}
        if image.positions is not None:
            given[POSITIONS] = image.positions.astype(np.int64)
        return self._encoded(given, image.soft_tokens)

    def _largest(self, path: Path, sides: Mapping[str, Any]) -> dict[str, ArrayFacts]:
        if PIXELS not in sides:
            raise ArtifactError(f"{path}: takes no pictures; export again")
        patches = self._count(path, "patches")
        # [images, 3, side, side], or [1, patches, numbers]
        sides_of_one = sides[PIXELS][1:] if len(sides[PIXELS]) == 4 else (patches, sides[PIXELS][2])
        found = {"pixels": ArrayFacts((1, *sides_of_one), np.dtype(np.float32))}
        if POSITIONS in sides:
            found["positions"] = ArrayFacts((1, patches, 2), np.dtype(np.int32))
        return found
