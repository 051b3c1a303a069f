"""Tiny bundles that take images and sounds, and prompts for them.

Not about what should come of those (`tests.whole_models` has transformers' own).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from exporter.checkpoints.huggingface.source import HuggingFaceSource
from exporter.lowering.interface import ImageOrder, LoweringOrder, SoundOrder
from exporter.lowering.litert.lowering import LiteRtLowering
from exporter.models.vision.spec import VisionSpec
from exporter.quantization.store.checkpoint import QuantizedCheckpoint
from runtimes.encoder import EncodedRows
from runtimes.images.processing import PROCESSING_NAME
from runtimes.manifest import Artifact, EncoderArtifact, TowerName
from runtimes.multimodal.session import PlacedRows, RowKind
from runtimes.opening import EncoderOpening
from runtimes.session import Tokens
from runtimes.sounds.processing import SOUND_PROCESSING_NAME
from tests.fakes import silent
from tests.seen_pictures import held_weights, processing_of
from tests.tiny_encoders import SOUND_BEGIN, SOUND_END, SOUND_SOFT
from tests.tiny_image_stores import TEXT_CONFIGS, tiny_image_store
from tests.tiny_releases import lowering_order, some_tokens
from tests.tiny_towers import BEGIN, END, SOFT
from tests.whole_models import HeldWeights

CONTEXT, CHUNK = 192, 16  # 192: room for a call that an image lies in
LOWERING = LiteRtLowering(frozenset({"litertlm"}))


@dataclass(frozen=True)
class SeeingBundle:
    """order: what it was lowered for. encoders: by component."""

    kind: str
    order: LoweringOrder
    directory: Path
    artifact: Artifact
    encoders: Mapping[TowerName, EncoderArtifact]

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
    def encoder(self) -> EncoderArtifact:
        return self.encoders["vision"]

    @property
    def opening(self) -> EncoderOpening:
        return self.opening_of("vision")

    def opening_of(self, component: TowerName) -> EncoderOpening:
        return EncoderOpening(self.directory, self.encoders[component], self.artifact, 2, "fp32")

    @property
    def weights(self) -> HeldWeights:
        """What the store holds, as numbers, for transformers' modules."""
        return held_weights(self.checkpoint, self.kind, TEXT_CONFIGS[self.kind]())


def seeing_bundle(
    directory: Path, kind: str, scheme: str = "int8-channel", *, sound: int = 0, **changes: Any
) -> SeeingBundle:
    """sound: soft tokens of the longest one, 0 for a bundle that takes none. changes: to the order."""
    checkpoint = tiny_image_store(directory, kind, scheme, sound > 0)
    images = ImageOrder(processing_of(checkpoint.components["vision"].spec))
    given = {"context": CONTEXT, "prefill_chunk": CHUNK, "images": images, **changes}
    tokenizer = directory / "checkpoint"
    if sound:
        said = HuggingFaceSource.open(tokenizer).sounds
        assert said is not None
        given["sounds"] = SoundOrder(replace(said, soft_tokens=sound))
    before = (tokenizer / "tokenizer.json").read_bytes()
    order = lowering_order(checkpoint, tokenizer, **given)
    (tokenizer / "tokenizer.json").write_bytes(before)  # which knows the tokens around an image
    release = directory / "release"
    release.mkdir()
    (artifact,) = LOWERING.lower(order, release, silent)
    if order.images is not None:
        (release / PROCESSING_NAME).write_text(order.images.processing.to_json(), encoding="utf-8")
    if order.sounds is not None:
        (release / SOUND_PROCESSING_NAME).write_text(order.sounds.processing.to_json(), encoding="utf-8")
    encoders = {each.component: each for each in LOWERING.encoders(order)}
    return SeeingBundle(kind, order, release, artifact, encoders)


AROUND: Mapping[RowKind, tuple[int, int, int]] = {
    "image": (BEGIN, SOFT, END),
    "sound": (SOUND_BEGIN, SOUND_SOFT, SOUND_END),
}


def prompt(
    starts: Sequence[int], rows: Sequence[EncodedRows], length: int, of: RowKind = "image"
) -> tuple[Tokens, list[PlacedRows]]:
    """Tokens with images or sounds from these places on, each between the tokens that stand there."""
    tokens, (begin, soft, end) = some_tokens(length).copy(), AROUND[of]
    placed = [PlacedRows(start, each, of) for start, each in zip(starts, rows, strict=True)]
    for each in placed:
        tokens[each.start - 1], tokens[each.stop] = begin, end
        tokens[each.start : each.stop] = soft
    return tokens, placed
