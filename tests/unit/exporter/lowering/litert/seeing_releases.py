"""Tiny bundles that take images, and pictures and prompts for them.

Not about what should come of those (`tests.whole_models` has transformers' own).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

from exporter.lowering.interface import ImageOrder, LoweringOrder
from exporter.lowering.litert.lowering import LiteRtLowering
from exporter.models.vision.spec import SiglipSpec, VisionSpec
from exporter.quantization.store.checkpoint import QuantizedCheckpoint
from runtimes.images.prepared import ImageRows, PreparedImage
from runtimes.images.processing import ImageMarks, ImageProcessing
from runtimes.images.session import PlacedImage
from runtimes.manifest import Artifact, EncoderArtifact
from runtimes.opening import ImageOpening
from runtimes.session import Tokens
from tests.fakes import silent
from tests.image_processing import patching, squashing
from tests.tiny_image_stores import TEXT_CONFIGS, tiny_image_store
from tests.tiny_releases import lowering_order, some_tokens
from tests.tiny_towers import BEGIN, END, SOFT, random_picture
from tests.whole_models import HeldWeights

CONTEXT, CHUNK, BUDGET = 192, 16, 20  # 192: room for a call that an image lies in
MARKS = ImageMarks(SOFT, BEGIN, END, line_breaks=False, placeholder="<|image|>")
LOWERING = LiteRtLowering(frozenset({"litertlm"}))


@dataclass(frozen=True)
class SeeingBundle:
    """order: what it was lowered for."""

    kind: str
    order: LoweringOrder
    directory: Path
    artifact: Artifact
    encoder: EncoderArtifact

    @property
    def path(self) -> Path:
        return self.directory / self.artifact.path

    @property
    def checkpoint(self) -> QuantizedCheckpoint:
        return self.order.checkpoint

    @property
    def spec(self) -> VisionSpec:
        return self.checkpoint.components["vision"].spec

    @property
    def opening(self) -> ImageOpening:
        return ImageOpening(self.directory, self.encoder, self.artifact, 2, "fp32")

    @property
    def weights(self) -> HeldWeights:
        """What the store holds, as numbers, for transformers' modules."""
        checkpoint = self.checkpoint
        tensors = {name: torch.from_numpy(each.copy()) for name, each in checkpoint.vectors.items()}
        for name, matrix in checkpoint.matrices.items():
            tensors[name] = torch.from_numpy(matrix.values(0, matrix.shape[0]).copy())
        text = frozenset(weight.name for weight in checkpoint.components["text"].spec.weights())
        return HeldWeights(self.kind, TEXT_CONFIGS[self.kind](), tensors, text)


def seeing_bundle(directory: Path, kind: str, scheme: str = "int8-channel", **changes: Any) -> SeeingBundle:
    """changes: to the order."""
    checkpoint = tiny_image_store(directory, kind, scheme)
    images = ImageOrder(processing_of(checkpoint.components["vision"].spec))
    given = {"context": CONTEXT, "prefill_chunk": CHUNK, "images": images, **changes}
    tokenizer = directory / "checkpoint"
    before = (tokenizer / "tokenizer.json").read_bytes()
    order = lowering_order(checkpoint, tokenizer, **given)
    (tokenizer / "tokenizer.json").write_bytes(before)  # which knows the tokens around an image
    release = directory / "release"
    release.mkdir()
    (artifact,) = LOWERING.lower(order, release, silent)
    (encoder,) = LOWERING.encoders(order)
    return SeeingBundle(kind, order, release, artifact, encoder)


def processing_of(spec: VisionSpec, soft_tokens: int = BUDGET) -> ImageProcessing:
    if isinstance(spec, SiglipSpec):
        return squashing(spec.image_size, spec.soft_tokens, MARKS)
    return patching(soft_tokens, spec.model_type == "gemma4_unified_vision", MARKS)


def picture(spec: VisionSpec, squares: tuple[int, int] = (6, 3)) -> PreparedImage:
    """Noise without padding."""
    found = random_picture(spec, squares, squares[0] * squares[1])
    positions = None if found.positions is None else found.positions.numpy().astype(np.int32)
    return PreparedImage(found.pixels.numpy(), positions, found.count)


def prompt(
    starts: Sequence[int], rows: Sequence[ImageRows], length: int
) -> tuple[Tokens, list[PlacedImage]]:
    """Tokens with images from these places on, each between the tokens that stand there."""
    tokens = some_tokens(length).copy()
    images = [PlacedImage(start, each) for start, each in zip(starts, rows, strict=True)]
    for image in images:
        tokens[image.start - 1], tokens[image.stop] = BEGIN, END
        tokens[image.start : image.stop] = SOFT
    return tokens, images
