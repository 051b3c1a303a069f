"""Pictures, their processing and a store's numbers, for tiny releases that see.

What those of every format have in common. Not about lowering them (`seeing_releases` of each lowering).
"""

from __future__ import annotations

from typing import Any

import numpy as np
import torch

from exporter.models.vision.spec import SiglipSpec, VisionSpec
from exporter.quantization.store.checkpoint import QuantizedCheckpoint
from runtimes.images.prepared import PreparedImage
from runtimes.images.processing import ImageMarks, ImageProcessing
from tests.image_processing import patching, squashing
from tests.tiny_towers import BEGIN, END, SOFT, random_picture
from tests.whole_models import HeldWeights

BUDGET = 20  # soft tokens of an image, at most
MARKS = ImageMarks(SOFT, BEGIN, END, line_breaks=False, placeholder="<|image|>")


def processing_of(spec: VisionSpec, soft_tokens: int = BUDGET) -> ImageProcessing:
    if isinstance(spec, SiglipSpec):
        return squashing(spec.image_size, spec.soft_tokens, MARKS)
    return patching(soft_tokens, spec.model_type == "gemma4_unified_vision", MARKS)


def picture(spec: VisionSpec, squares: tuple[int, int] = (6, 3)) -> PreparedImage:
    """Noise without padding; but for a SigLIP, of more soft tokens than a chunk has."""
    found = random_picture(spec, squares, squares[0] * squares[1])
    positions = None if found.positions is None else found.positions.numpy().astype(np.int32)
    return PreparedImage(found.pixels.numpy(), positions, found.count)


def held_weights(checkpoint: QuantizedCheckpoint, kind: str, text: dict[str, Any]) -> HeldWeights:
    """What a store holds, as numbers, for transformers' modules. text: its text model's configuration."""
    tensors = {name: torch.from_numpy(each.copy()) for name, each in checkpoint.vectors.items()}
    for name, matrix in checkpoint.matrices.items():
        tensors[name] = torch.from_numpy(matrix.values(0, matrix.shape[0]).copy())
    own = frozenset(weight.name for weight in checkpoint.components["text"].spec.weights())
    return HeldWeights(kind, text, tensors, own)
