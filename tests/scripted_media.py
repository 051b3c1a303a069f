"""Encoders and a decoder that remember what they were given, and releases for them: what tests of showing
pictures and playing sounds to a release feed. Not about a model.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Self

import numpy as np
import pytest

from runtimes.encoder import EncodedRows, EncoderFacts
from runtimes.formats import Format
from runtimes.images.prepared import PreparedImage
from runtimes.images.processing import PROCESSING_NAME, ImageProcessing
from runtimes.manifest import MANIFEST_NAME, ComponentEntry, EncoderArtifact, read_manifest
from runtimes.multimodal.session import PlacedRows
from runtimes.open import IMAGE_ENCODERS, MULTIMODAL_SESSIONS, SOUND_ENCODERS
from runtimes.opening import EncoderOpening
from runtimes.session import Logits, Tokens
from runtimes.sounds.prepared import PreparedSound
from runtimes.sounds.processing import SOUND_PROCESSING_NAME
from tests.image_processing import patching, squashing
from tests.media_speech import GEMMA_3, GEMMA_4, MediaSpeech, write_media_speech
from tests.scripted_session import ScriptedSession
from tests.sound_processing import spectra
from tests.unit.exporter.packaging.test_release import sealed

WIDTH = 6
SOUND_ROWS = 32
VISION = ComponentEntry("a tower", 1000, ("pixels",), ("image rows",))
AUDIO = ComponentEntry("an encoder", 1000, ("sound",), ("sound rows",))
TOWERS: Mapping[Format, EncoderArtifact] = {
    "onnx": EncoderArtifact("vision", "onnx", "onnx/vision.onnx", "onnx/decoder.onnx", 4, WIDTH),
    "coreml": EncoderArtifact(
        "vision", "coreml", "coreml/vision.mlpackage", "coreml/model.mlpackage", 4, WIDTH
    ),
}
AUDIO_ENCODERS: Mapping[Format, EncoderArtifact] = {
    format: replace(
        each, component="audio", path=each.path.replace("vision", "speech"), soft_tokens=SOUND_ROWS
    )
    for format, each in TOWERS.items()
}


@dataclass
class ScriptedTower:
    """Satisfies `ImageEncoder` and `SoundEncoder`: each row is the mean of the picture or of the spectra.
    width: of the rows it makes."""

    width: int = WIDTH
    closed: bool = False

    @property
    def facts(self) -> EncoderFacts:
        return EncoderFacts("script", "1", "exact", {}, {})

    def rows(self, given: PreparedImage | PreparedSound) -> EncodedRows:
        assert not self.closed
        numbers = given.pixels if isinstance(given, PreparedImage) else given.features
        return np.full((given.soft_tokens, self.width), numbers.mean(), np.float32)

    def close(self) -> None:
        self.closed = True

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()


class ScriptedMultimodalSession(ScriptedSession):
    """Satisfies `MultimodalSession`. placed: all rows it was given."""

    def __init__(self, **changes: int) -> None:
        super().__init__(**changes)  # type: ignore[arg-type]  # of the context alone
        self.placed: list[PlacedRows] = []

    def prefill_with_rows(self, tokens: Tokens, placed: Sequence[PlacedRows]) -> Logits:
        self.placed += placed
        return self.prefill(tokens)


@dataclass
class ScriptedDrivers:
    """What stands in the tables of `runtimes.open`: all openings get one tower, one encoder of sounds and
    one decoder."""

    tower: ScriptedTower = field(default_factory=ScriptedTower)
    hearing: ScriptedTower = field(default_factory=ScriptedTower)
    session: ScriptedMultimodalSession = field(default_factory=ScriptedMultimodalSession)
    opened: list[EncoderOpening] = field(default_factory=list)

    @classmethod
    def instead(cls, patch: pytest.MonkeyPatch) -> Self:
        """Of both formats, as long as the patch lasts."""
        found = cls()
        for format in TOWERS:
            patch.setitem(IMAGE_ENCODERS, format, found.open_tower)
            patch.setitem(SOUND_ENCODERS, format, found.open_hearing)
            patch.setitem(MULTIMODAL_SESSIONS, format, found.open_session)
        return found

    def open_tower(self, opening: EncoderOpening) -> ScriptedTower:
        self.opened.append(opening)
        return self.tower

    def open_hearing(self, opening: EncoderOpening) -> ScriptedTower:
        self._require_closed()
        self.opened.append(opening)
        return self.hearing

    def open_session(self, opening: EncoderOpening) -> ScriptedMultimodalSession:
        self._require_closed()
        return self.session

    def _require_closed(self) -> None:
        """Two at once would take the memory of both."""
        open = {each.encoder.component for each in self.opened}
        assert self.tower.closed == ("vision" in open)
        assert self.hearing.closed == ("audio" in open)


def seeing_release(
    tmp_path: Path,
    formats: Sequence[Format] = ("onnx", "coreml"),
    speech: MediaSpeech = GEMMA_3,
    template: bool = True,
) -> Path:
    """Sealed as a text release is, with towers of these formats beside its decoders, of a context of 64."""
    release = sealed(tmp_path)
    write_media_speech(release, speech, template)
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


def hearing_release(
    tmp_path: Path, formats: Sequence[Format] = ("onnx", "coreml"), sees: bool = True
) -> Path:
    """A Gemma 4 that hears, `SOUND_ROWS` a sound at most, and sees as `seeing_release`, or not."""
    release = seeing_release(tmp_path, formats, GEMMA_4)
    assert GEMMA_4.sounds is not None
    hears = spectra(soft_tokens=SOUND_ROWS, marks=GEMMA_4.sounds)
    (release / SOUND_PROCESSING_NAME).write_text(hears.to_json(), encoding="utf-8")
    manifest = read_manifest(release)
    hearing = tuple(AUDIO_ENCODERS[each] for each in formats)
    components, towers = {**manifest.components, "audio": AUDIO}, manifest.encoders or ()
    if not sees:
        (release / PROCESSING_NAME).unlink()
        del components["vision"]
        towers = ()
    manifest = replace(manifest, components=components, encoders=(*towers, *hearing))
    (release / MANIFEST_NAME).write_text(manifest.to_json(), encoding="utf-8")
    return release


def processing_of(speech: MediaSpeech) -> ImageProcessing:
    """Four rows an image: Gemma 3's always, Gemma 4's at most."""
    if speech is GEMMA_3:
        return squashing(side=16, soft_tokens=4, marks=speech.marks)
    return patching(4, marks=speech.marks)
