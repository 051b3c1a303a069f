"""LiteRT-LM's own engine answering from a WAV, against our driver on the same bundle and transformers.

Matrix: tiny Gemma 4 E2B and 12B in fp32; sounds of lengths that both prepare alike, of others, longer than
a call of the encoder, and beside a picture. Among what is asserted is that the token behind a sound has its
own row of the per-layer table, that the silence which the engine puts before 12B's samples is heard by
nobody, and what it does otherwise than transformers: a spectrum has one frame more where frames fill a
sound exactly, the end of 12B's sound that fills no soft token is left out, and each part of a sound longer
than a call is encoded by itself. Not asserted: resampling.
"""

from __future__ import annotations

import io
import subprocess
import sys
from collections.abc import Callable, Mapping
from pathlib import Path

import numpy as np
import pytest
import soundfile
from litert_lm import Content
from numpy.typing import NDArray
from PIL import Image

from exporter.formats.family import Prompting
from exporter.packaging.card_inputs import CardSounds, sound_section
from exporter.packaging.release import files_below
from exporter.reference.merged_logits import AskedPrompt, merged_decisions
from exporter.reference.reference_tower import ReferenceTower
from runtimes.encoder import EncodedRows
from runtimes.images.preparing import prepared_image
from runtimes.litert.image_encoder import LiteRtImageEncoder
from runtimes.litert.sound_encoder import LiteRtSoundEncoder
from runtimes.multimodal.session import PlacedRows
from runtimes.sounds.prepared import PreparedSound
from runtimes.sounds.preparing import prepared_sound
from tests.fakes import silent
from tests.parity.litert_lm_media import BOS, Part, said_by_the_engine, speaking
from tests.parity.test_image_card import PIECE
from tests.parity.test_onnx_genai_images import quieten
from tests.tiny_encoders import (
    SOUND_BEGIN,
    SOUND_END,
    SOUND_SOFT,
    TinyEncoder,
    tiny_conformer,
    tiny_waveform,
)
from tests.tiny_image_stores import write_tiny_multimodal
from tests.tiny_towers import BEGIN, END, SOFT
from tests.unit.exporter.lowering.litert.seeing_releases import SeeingBundle, seeing_bundle

COUNT, LONGEST, CALL = 8, 60, 40  # tokens of an answer; soft tokens of a sound, and of a call
RATE, HOP, SAMPLES = 16_000, 160, 640  # of a second, between frames, of a soft token of 12B
BEFORE, BEHIND = [40, 41, 42, 43, 44], [50, 51, 52]
ALIKE: Mapping[str, tuple[int, ...]] = {"Gemma 4 E2B": (8_329, 19_201), "Gemma 4 12B": (8_320, 19_200)}
# As wide as LiteRT-LM makes spectra and samples.
ENCODERS: Mapping[str, Callable[[], TinyEncoder]] = {
    "Gemma 4 E2B": lambda: tiny_conformer(bands=128),
    "Gemma 4 12B": lambda: tiny_waveform(640),
}


@pytest.fixture(scope="module", params=ENCODERS)
def bundle(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> SeeingBundle:
    directory, kind = tmp_path_factory.mktemp("engine"), request.param
    checkpoint = write_tiny_multimodal(directory / "checkpoint", kind, encoder=ENCODERS[kind]())
    # A 12B says its last token over and over; of an E2B quiet ones decide too little.
    if kind == "Gemma 4 12B":
        quieten(checkpoint / "model.safetensors")
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr("exporter.lowering.litert.audio.sections.SOUND_CALL", CALL)
        made = seeing_bundle(directory, kind, "fp32", sound=LONGEST)
        speaking(made)
    return made


def chirp(samples: int) -> NDArray[np.int16]:
    at = np.arange(samples) / RATE
    return np.round(20_000 * np.sin(2 * np.pi * (200 * at + 900 * at**2))).astype(np.int16)


def wav(samples: NDArray[np.int16]) -> Part:
    file = io.BytesIO()
    soundfile.write(file, samples, RATE, format="WAV")
    found: dict[str, str] = Content.AudioBytes(file.getvalue()).to_json()
    return found


def prepared(bundle: SeeingBundle, samples: NDArray[np.int16]) -> PreparedSound:
    assert bundle.order.sounds is not None
    return prepared_sound(samples.astype(np.float32) / np.float32(32768), bundle.order.sounds.processing)


def rows_of(bundle: SeeingBundle, samples: NDArray[np.int16]) -> EncodedRows:
    """transformers' own."""
    tower = ReferenceTower(bundle.weights, bundle.checkpoint.components["audio"].spec)
    return tower.rows(prepared(bundle, samples))


def decided(bundle: SeeingBundle, rows: EncodedRows, said: list[int]) -> tuple[list[int], list[int]]:
    """What transformers says behind these rows where the engine gave each of its tokens; and deaf."""
    prompt = [BOS, *BEFORE, SOUND_BEGIN, *[SOUND_SOFT] * len(rows), SOUND_END, *BEHIND]
    tokens = np.array(prompt + said[:-1], np.int32)
    at = np.arange(len(prompt) - 1, len(tokens))
    asked = [
        AskedPrompt(tokens, (PlacedRows(len(BEFORE) + 2, each, "sound"),), at) for each in (rows, rows * 0)
    ]
    hearing, deaf = merged_decisions(bundle.weights, asked, silent)
    return hearing.choices.tolist(), deaf.choices.tolist()


def test_the_engine_answers_as_transformers_does(bundle: SeeingBundle, tmp_path: Path) -> None:
    sounds = [chirp(samples) for samples in ALIKE[bundle.kind]]
    prompts = [(BEFORE, wav(each), BEHIND) for each in sounds]
    for said, samples in zip(said_by_the_engine(bundle, prompts, COUNT, tmp_path), sounds, strict=True):
        hearing, deaf = decided(bundle, rows_of(bundle, samples), said)
        assert said == hearing
        assert said != deaf, "a sound that changes nothing proves nothing"


# LiteRT-LM's engine sees a 12B's pictures otherwise (docs/adr/0034).
@pytest.mark.parametrize("bundle", ["Gemma 4 E2B"], indirect=True)
def test_the_engine_answers_about_a_picture_and_a_sound(bundle: SeeingBundle, tmp_path: Path) -> None:
    samples, y_x = chirp(8_329), np.mgrid[:192, :240]
    pixels = np.stack([y_x[1], y_x[0], y_x.sum(0) // 2], -1).astype(np.uint8)
    Image.fromarray(pixels).save(tmp_path / "ramp.png")
    picture = Content.ImageFile(str(tmp_path / "ramp.png")).to_json()
    asked = [(BEFORE, picture, BEHIND, wav(samples), BEHIND)]
    (said,) = said_by_the_engine(bundle, asked, COUNT, tmp_path)
    assert bundle.order.images is not None
    with LiteRtImageEncoder.open(bundle.path) as tower:
        seen = tower.rows(prepared_image(pixels, bundle.order.images.processing))
    heard = rows_of(bundle, samples)
    prompt = [BOS, *BEFORE, BEGIN, *[SOFT] * len(seen), END, *BEHIND]
    prompt += [SOUND_BEGIN, *[SOUND_SOFT] * len(heard), SOUND_END, *BEHIND]
    placed = (PlacedRows(prompt.index(SOFT), seen), PlacedRows(prompt.index(SOUND_SOFT), heard, "sound"))
    tokens = np.array(prompt + said[:-1], np.int32)
    at = np.arange(len(prompt) - 1, len(tokens))
    (decided,) = merged_decisions(bundle.weights, [AskedPrompt(tokens, placed, at)], silent)
    assert said == decided.choices.tolist()


def test_the_end_of_a_sound_is_another_to_the_engine(bundle: SeeingBundle, tmp_path: Path) -> None:
    if bundle.kind == "Gemma 4 E2B":
        samples = chirp(81 * HOP)
        heard = np.append(samples, np.int16(0))  # behind the last frame, whose own sample it is not
    else:
        samples = chirp(13 * SAMPLES - 1)
        heard = samples[: 12 * SAMPLES]
    (said,) = said_by_the_engine(bundle, [(BEFORE, wav(samples), BEHIND)], COUNT, tmp_path)
    ours, engines = (rows_of(bundle, each) for each in (samples, heard))
    assert len(ours) != len(engines)
    assert said == decided(bundle, engines, said)[0]
    assert said != decided(bundle, ours, said)[0]


def test_of_a_sound_longer_than_a_call_each_part_is_encoded_by_itself(
    bundle: SeeingBundle, tmp_path: Path
) -> None:
    conformer = bundle.kind == "Gemma 4 E2B"
    samples, call, per_token = (chirp(35_201), CALL, 4) if conformer else (chirp(35_200), CALL - 1, 1)
    (said,) = said_by_the_engine(bundle, [(BEFORE, wav(samples), BEHIND)], COUNT, tmp_path)
    whole = prepared(bundle, samples)
    assert call < whole.soft_tokens < 2 * call
    parts = [
        PreparedSound(whole.features[:, : call * per_token], call),
        PreparedSound(whole.features[:, call * per_token :], whole.soft_tokens - call),
    ]
    with LiteRtSoundEncoder.open(bundle.path, LONGEST) as encoder:
        apart = np.concatenate([encoder.rows(each) for each in parts])
        together = encoder.rows(whole)
    assert said == decided(bundle, apart, said)[0]
    assert np.array_equal(apart, together) != conformer, "rows of samples are made alone"


def test_the_command_on_the_card_runs_and_hears(bundle: SeeingBundle, tmp_path: Path) -> None:
    encoder, sounds = bundle.encoders["audio"], bundle.order.sounds
    assert sounds is not None
    hears = CardSounds((encoder,), sounds.processing)
    _, piece = PIECE.findall(sound_section(hears, (bundle.artifact,), Prompting("", chat=True)))
    before, answers = files_below(bundle.directory), []
    for samples in (chirp(19_201), chirp(19_201)[::-1]):
        soundfile.write(tmp_path / "sound.wav", samples, RATE)
        text = piece[1].replace("../sound.wav", str(tmp_path / "sound.wav"))
        text = text.replace("litert-lm", str(Path(sys.executable).parent / "litert-lm"), 1)
        told = ["sh", "-c", text]
        done = subprocess.run(
            told, cwd=bundle.directory, capture_output=True, text=True, timeout=120, check=True
        )
        answers.append(done.stdout)
    assert answers[0] != answers[1]
    assert files_below(bundle.directory) == before
