"""What the card of a release that hears says of asking about a sound, run as it stands.

Of a tiny Gemma 4 E2B. Asserted: no piece is left out; the command, genai and transformers.js say something
else about another sound. What they should say is asserted elsewhere (`test_onnx_genai_sounds`,
`test_web_sounds`).
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
from tests.web_engines import require

KIND = "Gemma 4 E2B"


def speaking_checkpoint(place: Path) -> Path:
    checkpoint = write_tiny_multimodal(place / "checkpoint", KIND, encoder=TINY_ENCODERS[KIND]())
    quieten(checkpoint / "model.safetensors")
    name_unused(checkpoint, WORDS)
    return checkpoint


@pytest.fixture(scope="module")
def release(tmp_path_factory: pytest.TempPathFactory) -> HearingRelease:
    place = tmp_path_factory.mktemp("hearing")
    checkpoint = speaking_checkpoint(place)
    found = hearing_release(place, KIND, context=640, tokenizer=checkpoint, prefill_logits="last")
    sees = processing_of(found.checkpoint.components["vision"].spec)
    asked = AskedRelease(found.directory, found.artifact, tuple(found.towers.values()), found.weights)
    said_of = {PROCESSING_NAME: sees.to_json(), SOUND_PROCESSING_NAME: found.processing.to_json()}
    asked.complete(checkpoint, said_of)
    return found


def require_heard(release: Path, tmp_path: Path, chosen: list[tuple[str, str]]) -> None:
    """Each piece says something else about another sound."""
    sounds = [tmp_path / "chirp.wav", tmp_path / "noise.wav"]
    for path, made in zip(sounds, (chirp(0.6), noise(0.6)), strict=True):
        soundfile.write(path, made, RATE)
    for language, text in chosen:
        answers = [said(release, language, text, each) for each in sounds]
        assert answers[0] != answers[1], text


def pieces(release: HearingRelease, prompting: Prompting) -> list[tuple[str, str]]:
    hears = CardSounds((release.encoder,), release.processing)
    return PIECE.findall(sound_section(hears, (release.artifact,), prompting))


def test_every_piece_of_code_about_sounds_runs_and_hears(release: HearingRelease, tmp_path: Path) -> None:
    found = pieces(release, Prompting("", chat=True))
    assert [language for language, _ in found] == ["sh", "python"]
    require_heard(release.directory, tmp_path, found)


def test_transformers_js_lines_run_and_hear(tmp_path: Path) -> None:
    require("node")
    checkpoint = speaking_checkpoint(tmp_path)
    template = (checkpoint / "chat_template.jinja").read_text(encoding="utf-8")
    release = hearing_release(
        tmp_path,
        KIND,
        "onnx-web",
        context=160,
        tokenizer=checkpoint,
        prefill_logits="last",
        chat_template=template,
    )
    for prompting in (Prompting("<bos>", chat=True), Prompting("<bos>", chat=False)):
        ours, theirs = pieces(release, prompting)
        assert "gemma-export run" in ours[1]
        assert "node ../ask/hear.mjs" in theirs[1]
        assert ("apply_chat_template" in theirs[1]) == prompting.chat
        require_heard(release.directory, tmp_path, [theirs])
