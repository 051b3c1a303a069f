"""onnxruntime-genai, the engine users run, answering about a WAV, against transformers on its own spectra.

Matrix: tiny Gemma 4 E2B; a sound, a sound with a picture, a sound at another sampling rate; genai's spectra
against transformers' own. Not asserted: several sounds, which genai does not take in one prompt, and
Gemma 4 12B, whose samples it has no processor for.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
import soundfile
from numpy.typing import NDArray

from exporter.reference.reference_tower import ReferenceTower
from runtimes.images.prepared import PreparedImage
from runtimes.multimodal.session import PlacedRows
from runtimes.sounds.prepared import PreparedSound
from runtimes.sounds.preparing import prepared_sound
from tests.parity.genai_generation import genai_tokens
from tests.parity.test_onnx_genai_images import WORDS, drawn, quieten
from tests.reference_answers import likeliest
from tests.tiny import name_unused
from tests.tiny_encoders import SOUND_SOFT, tiny_conformer
from tests.tiny_image_stores import write_tiny_multimodal
from tests.tiny_releases import some_tokens
from tests.tiny_towers import SOFT
from tests.unit.exporter.lowering.onnx.hearing_releases import HearingRelease, hearing_release

ANSWERED, RATE = 12, 16_000
SPECTRA = 1e-4  # max abs, of logarithms


@pytest.fixture(scope="module")
def release(tmp_path_factory: pytest.TempPathFactory) -> HearingRelease:
    directory, kind = tmp_path_factory.mktemp("genai"), "Gemma 4 E2B"
    checkpoint = write_tiny_multimodal(directory / "checkpoint", kind, encoder=tiny_conformer())
    quieten(checkpoint / "model.safetensors")
    name_unused(checkpoint, WORDS)
    return hearing_release(
        directory, kind, context=640, prefill_chunk=64, tokenizer=checkpoint, prefill_logits="last"
    )


@dataclass(frozen=True)
class Answered:
    """What genai made of a prompt: its tokens, spectrum and picture, and what it said."""

    tokens: list[int]
    heard: PreparedSound
    seen: PreparedImage | None
    answer: list[int]


def answered(directory: Path, prompt: str, sound: Path, picture: Path | None = None) -> Answered:
    import onnxruntime_genai as genai

    model = genai.Model(str(directory))
    processor = model.create_multimodal_processor()
    images = None if picture is None else genai.Images.open(str(picture))
    inputs = processor(prompt, images=images, audios=genai.Audios.open(str(sound)))
    tokens = inputs["input_ids"].as_numpy().reshape(-1).tolist()
    parameters = genai.GeneratorParams(model)
    parameters.set_search_options(max_length=len(tokens) + ANSWERED, do_sample=False)
    generator = genai.Generator(model, parameters)
    generator.set_inputs(inputs)
    while not generator.is_done():
        generator.generate_next_token()
    answer = [int(token) for token in generator.get_sequence(0)[len(tokens) :]]
    spectrum = inputs["audio_embeds"].as_numpy()
    heard = PreparedSound(spectrum.reshape(1, *spectrum.shape[-2:]), tokens.count(SOUND_SOFT))
    seen = None
    if picture is not None:
        pixels, positions = (inputs[name].as_numpy() for name in ("pixel_values", "pixel_position_ids"))
        seen = PreparedImage(pixels, positions.astype(np.int32), pixels.shape[1] // 9)
    return Answered(tokens, heard, seen, answer)


def reference_answer(release: HearingRelease, found: Answered, scratch: Path, factor: float) -> list[int]:
    """transformers' likeliest token where genai gave each of its own; a sound's rows times a factor."""
    rows = ReferenceTower(release.weights, release.spec).rows(found.heard) * np.float32(factor)
    placed = [PlacedRows(found.tokens.index(SOUND_SOFT), rows, "sound")]
    if found.seen is not None:
        tower = ReferenceTower(release.weights, release.checkpoint.components["vision"].spec)
        placed.append(PlacedRows(found.tokens.index(SOFT), tower.rows(found.seen)))
    return likeliest(release.weights, found.tokens + found.answer, len(found.tokens), placed, scratch)


def chirp(seconds: float = 0.7, rate: int = RATE) -> NDArray[np.float32]:
    at = np.arange(round(seconds * rate)) / rate
    return (0.6 * np.sin(2 * np.pi * (200 * at + 1500 * at**2))).astype(np.float32)


def written(directory: Path, rate: int = RATE) -> Path:
    path = directory / "chirp.wav"
    soundfile.write(path, chirp(rate=rate), rate, subtype="FLOAT")
    return path


@pytest.mark.parametrize("with_picture", [False, True])
def test_genai_answers_about_a_sound_what_transformers_does(
    with_picture: bool, release: HearingRelease, tmp_path: Path
) -> None:
    shown = "<|image|><then>" if with_picture else ""
    prompt = f"<what><is>{shown}<|audio|><this>"
    picture = drawn(tmp_path) if with_picture else None
    found = answered(release.directory / "onnx", prompt, written(tmp_path), picture)
    assert len(found.answer) == ANSWERED
    assert len(set(found.answer)) > 2, "an answer of one word would prove nothing"
    assert found.answer == reference_answer(release, found, tmp_path, 1.0)
    assert found.answer != reference_answer(release, found, tmp_path, 0.0)


def test_its_spectra_are_those_of_transformers(release: HearingRelease, tmp_path: Path) -> None:
    found = answered(release.directory / "onnx", "<|audio|>", written(tmp_path)).heard
    expected = prepared_sound(chirp(), release.processing)
    assert found.soft_tokens == expected.soft_tokens
    assert found.features.shape == expected.features.shape
    assert np.abs(found.features - expected.features).max() < SPECTRA


def test_a_sound_at_another_sampling_rate_is_resampled_and_a_long_one_cut(
    release: HearingRelease, tmp_path: Path
) -> None:
    found = answered(release.directory / "onnx", "<|audio|>", written(tmp_path, 48_000)).heard
    assert found.features.shape == prepared_sound(chirp(), release.processing).features.shape
    soundfile.write(tmp_path / "chirp.wav", np.tile(chirp(), 3), RATE)
    found = answered(release.directory / "onnx", "<|audio|>", tmp_path / "chirp.wav").heard
    assert found.soft_tokens == release.processing.soft_tokens


def test_genai_continues_a_text_without_a_sound(release: HearingRelease) -> None:
    prompt = some_tokens(20).tolist()
    assert genai_tokens(release.directory / "onnx", prompt, len(prompt) + ANSWERED)


@pytest.mark.parametrize(("kind", "images"), [("Gemma 4 12B", True), ("Gemma 4 E2B", False)])
def test_what_genai_does_not_hear_stays_a_model_of_text_for_it(
    kind: str, images: bool, tmp_path: Path
) -> None:
    folder = hearing_release(tmp_path, kind, images=images).directory / "onnx"
    config = json.loads((folder / "genai_config.json").read_bytes())
    assert config["model"]["type"] == "gemma4_text"
    assert not (folder / "audio_feature_extraction.json").exists()
    assert genai_tokens(folder, some_tokens(20).tolist(), 24)
