"""What the card of a release that hears says of asking about a sound, run as it stands.

Of a tiny Gemma 4 E2B. Asserted: no piece is left out; the command and genai say something else about
another sound. What they should say is asserted elsewhere (`test_onnx_genai_sounds`).
"""

from __future__ import annotations

from pathlib import Path

import pytest
import soundfile

from exporter.formats.family import Prompting
from exporter.packaging.card_inputs import CardSounds, sound_section
from exporter.validation.sound_samples import RATE, chirp, noise
from runtimes.images.processing import PROCESSING_NAME
from runtimes.sounds.processing import SOUND_PROCESSING_NAME
from tests.end_to_end.asked_release import AskedRelease
from tests.parity.test_image_card import PIECE, said
from tests.parity.test_onnx_genai_images import WORDS, quieten
from tests.seen_pictures import processing_of
from tests.tiny import name_unused
from tests.tiny_encoders import TINY_ENCODERS
from tests.tiny_image_stores import write_tiny_multimodal
from tests.unit.exporter.lowering.onnx.hearing_releases import HearingRelease, hearing_release

KIND = "Gemma 4 E2B"


@pytest.fixture(scope="module")
def release(tmp_path_factory: pytest.TempPathFactory) -> HearingRelease:
    place = tmp_path_factory.mktemp("hearing")
    checkpoint = write_tiny_multimodal(place / "checkpoint", KIND, encoder=TINY_ENCODERS[KIND]())
    quieten(checkpoint / "model.safetensors")
    name_unused(checkpoint, WORDS)
    found = hearing_release(place, KIND, context=640, tokenizer=checkpoint, prefill_logits="last")
    sees = processing_of(found.checkpoint.components["vision"].spec)
    asked = AskedRelease(found.directory, found.artifact, tuple(found.towers.values()), found.weights)
    said_of = {PROCESSING_NAME: sees.to_json(), SOUND_PROCESSING_NAME: found.processing.to_json()}
    asked.complete(checkpoint, said_of)
    return found


def test_every_piece_of_code_about_sounds_runs_and_hears(release: HearingRelease, tmp_path: Path) -> None:
    sounds = [tmp_path / "chirp.wav", tmp_path / "noise.wav"]
    for path, made in zip(sounds, (chirp(0.6), noise(0.6)), strict=True):
        soundfile.write(path, made, RATE)
    hears = CardSounds((release.encoder,), release.processing)
    section = sound_section(hears, (release.artifact,), Prompting("", chat=True))
    pieces = PIECE.findall(section)
    assert [language for language, _ in pieces] == ["sh", "python"]
    for language, text in pieces:
        answers = [said(release.directory, language, text, each) for each in sounds]
        assert answers[0] != answers[1], text
