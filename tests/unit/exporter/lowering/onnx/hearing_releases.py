"""Tiny ONNX releases that take sounds, and images where those are ordered too.

Not about what should come of them (`tests.parity`).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from exporter.checkpoints.huggingface.source import HuggingFaceSource
from exporter.lowering.interface import ImageOrder, SoundOrder
from exporter.lowering.onnx.lowering import OnnxLowering
from exporter.models.audio.spec import AudioSpec
from exporter.quantization.store.checkpoint import QuantizedCheckpoint
from runtimes.formats import Format
from runtimes.manifest import Artifact, EncoderArtifact, TowerName
from runtimes.opening import EncoderOpening
from runtimes.sounds.processing import SoundProcessing
from tests.fakes import silent
from tests.heard_sounds import LONGEST
from tests.seen_pictures import held_weights, processing_of
from tests.tiny_image_stores import TEXT_CONFIGS, tiny_image_store
from tests.tiny_releases import lowering_order
from tests.unit.exporter.lowering.onnx.seeing_releases import CHUNK, CONTEXT
from tests.whole_models import HeldWeights


@dataclass(frozen=True)
class HearingRelease:
    """A release in one format of ONNX. towers: what it has of them."""

    kind: str
    checkpoint: QuantizedCheckpoint
    processing: SoundProcessing
    directory: Path
    artifact: Artifact
    towers: Mapping[TowerName, EncoderArtifact]

    @property
    def encoder(self) -> EncoderArtifact:
        return self.towers["audio"]

    @property
    def spec(self) -> AudioSpec:
        return self.checkpoint.components["audio"].spec

    @property
    def opening(self) -> EncoderOpening:
        return EncoderOpening(self.directory, self.encoder, self.artifact, 2, "fp32")

    @property
    def weights(self) -> HeldWeights:
        """What the store holds, as numbers, for transformers' modules."""
        return held_weights(self.checkpoint, self.kind, TEXT_CONFIGS[self.kind]())


def hearing_release(
    directory: Path, kind: str, format: Format = "onnx", images: bool = True, **changes: Any
) -> HearingRelease:
    """int8. A checkpoint that is in the directory already is taken. changes: to the order."""
    checkpoint = tiny_image_store(directory, kind, sound=True)
    said = HuggingFaceSource.open(directory / "checkpoint").sounds
    assert said is not None
    processing = replace(said, soft_tokens=LONGEST)
    pictures = ImageOrder(processing_of(checkpoint.components["vision"].spec))
    usual: dict[str, Any] = {
        "context": CONTEXT,
        "prefill_chunk": CHUNK,
        "prefill_logits": "all",
        "images": pictures if images else None,
        "sounds": SoundOrder(processing),
    }
    lowering = OnnxLowering(frozenset({format}))
    order = replace(lowering_order(checkpoint, directory), **(usual | changes))
    release = directory / f"release-{format}-{images}"
    release.mkdir()
    (artifact,) = lowering.lower(order, release, silent)
    towers = {each.component: each for each in lowering.encoders(order)}
    return HearingRelease(kind, checkpoint, processing, release, artifact, towers)
