"""A tower and a decoder that remember what they were shown, and a release for them: what tests of showing
pictures to a release feed. Not about a model.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Self

import numpy as np

from runtimes.encoder import EncoderFacts
from runtimes.formats import Format
from runtimes.images.prepared import ImageRows, PreparedImage
from runtimes.images.processing import PROCESSING_NAME, ImageProcessing
from runtimes.images.session import PlacedImage
from runtimes.manifest import MANIFEST_NAME, ComponentEntry, EncoderArtifact, read_manifest
from runtimes.opening import ImageOpening
from runtimes.session import Logits, Tokens
from tests.image_processing import patching, squashing
from tests.image_speech import GEMMA_3, ImageSpeech, write_image_speech
from tests.scripted_session import ScriptedSession
from tests.unit.exporter.packaging.test_release import sealed

WIDTH = 6
VISION = ComponentEntry("a tower", 1000, ("pixels",), ("image rows",))
TOWERS: Mapping[Format, EncoderArtifact] = {
    "onnx": EncoderArtifact("vision", "onnx", "onnx/vision.onnx", "onnx/decoder.onnx", 4, WIDTH),
    "coreml": EncoderArtifact(
        "vision", "coreml", "coreml/vision.mlpackage", "coreml/model.mlpackage", 4, WIDTH
    ),
}


@dataclass
class ScriptedTower:
    """Satisfies `ImageEncoder`: each row is the mean of the picture. width: of the rows it makes."""

    width: int = WIDTH
    closed: bool = False
    shown: list[PreparedImage] = field(default_factory=list)

    @property
    def facts(self) -> EncoderFacts:
        return EncoderFacts("script", "1", "exact", {}, {})

    def rows(self, image: PreparedImage) -> ImageRows:
        assert not self.closed
        self.shown.append(image)
        return np.full((image.soft_tokens, self.width), image.pixels.mean(), np.float32)

    def close(self) -> None:
        self.closed = True

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()


class ScriptedImageSession(ScriptedSession):
    """Satisfies `ImageSession`. images: all it was given."""

    def __init__(self, **changes: int) -> None:
        super().__init__(**changes)  # type: ignore[arg-type]  # of the context alone
        self.images: list[PlacedImage] = []

    def prefill_with_images(self, tokens: Tokens, images: Sequence[PlacedImage]) -> Logits:
        self.images += images
        return self.prefill(tokens)


@dataclass
class ScriptedDrivers:
    """What stands in the tables of `runtimes.open`: all openings get one tower and one decoder."""

    tower: ScriptedTower = field(default_factory=ScriptedTower)
    session: ScriptedImageSession = field(default_factory=ScriptedImageSession)
    opened: list[ImageOpening] = field(default_factory=list)

    def open_tower(self, opening: ImageOpening) -> ScriptedTower:
        self.opened.append(opening)
        return self.tower

    def open_session(self, opening: ImageOpening) -> ScriptedImageSession:
        assert self.tower.closed  # both at once would take the memory of both
        return self.session


def seeing_release(
    tmp_path: Path,
    formats: Sequence[Format] = ("onnx", "coreml"),
    speech: ImageSpeech = GEMMA_3,
    template: bool = True,
) -> Path:
    """Sealed as a text release is, with towers of these formats beside its decoders, of a context of 64."""
    release = sealed(tmp_path)
    write_image_speech(release, speech, template)
    (release / PROCESSING_NAME).write_text(processing_of(speech).to_json(), encoding="utf-8")
    manifest = read_manifest(release)
    manifest = replace(
        manifest,
        model={**manifest.model, "left_out": []},
        components={**manifest.components, "vision": VISION},
        encoders=tuple(TOWERS[each] for each in formats),
    )
    (release / MANIFEST_NAME).write_text(manifest.to_json(), encoding="utf-8")
    return release


def processing_of(speech: ImageSpeech) -> ImageProcessing:
    """Four rows an image: Gemma 3's always, Gemma 4's at most."""
    if speech is GEMMA_3:
        return squashing(side=16, soft_tokens=4, marks=speech.marks)
    return patching(4, marks=speech.marks)
