"""Tiny bundles that take images, and pictures and prompts for them.

Not about what should come of those (`tests.whole_models` has transformers' own).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from exporter.lowering.interface import ImageOrder, LoweringOrder
from exporter.lowering.litert.lowering import LiteRtLowering
from exporter.models.vision.spec import VisionSpec
from exporter.quantization.store.checkpoint import QuantizedCheckpoint
from runtimes.images.prepared import ImageRows
from runtimes.images.processing import PROCESSING_NAME
from runtimes.images.session import PlacedImage
from runtimes.manifest import Artifact, EncoderArtifact
from runtimes.opening import ImageOpening
from runtimes.session import Tokens
from tests.fakes import silent
from tests.seen_pictures import held_weights, processing_of
from tests.tiny_image_stores import TEXT_CONFIGS, tiny_image_store
from tests.tiny_releases import lowering_order, some_tokens
from tests.tiny_towers import BEGIN, END, SOFT
from tests.whole_models import HeldWeights

CONTEXT, CHUNK = 192, 16  # 192: room for a call that an image lies in
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
        return held_weights(self.checkpoint, self.kind, TEXT_CONFIGS[self.kind]())


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
    (release / PROCESSING_NAME).write_text(images.processing.to_json(), encoding="utf-8")
    (encoder,) = LOWERING.encoders(order)
    return SeeingBundle(kind, order, release, artifact, encoder)


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
