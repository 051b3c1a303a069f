"""What we make of a sound against transformers' extractors and `load_audio`, bit by bit.

Matrix: E2B's spectra and the 12B's samples × generated sounds × lengths at which a frame or a soft token
more begins; files of every kind, rate and number of channels. Not about encoders.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import soundfile
from transformers.audio_utils import load_audio
from transformers.models.gemma4.feature_extraction_gemma4 import Gemma4AudioFeatureExtractor
from transformers.models.gemma4_unified.feature_extraction_gemma4_unified import (
    Gemma4UnifiedAudioFeatureExtractor,
)

from exporter.validation.sound_samples import SOUNDS, noise
from runtimes.sounds.preparing import Waveform, prepared_sound
from runtimes.sounds.sound_file import read_sound
from tests.sound_processing import pieces, spectra

PLAYED: dict[str, Waveform] = {
    **{name: make() for name, make in SOUNDS.items()},
    "silence": np.zeros(1000, np.float32),
    "one frame": noise(0.1)[:161],
    "as much as one frame holds": noise(0.1)[:320],
    "two frames": noise(0.1)[:321],
    "a token more": noise(0.1)[: 160 + 4 * 160 + 1],
    "without padding": noise(0.1)[: 128 * 10],
    "half a minute": noise(30.0),
}


@pytest.mark.parametrize("name", PLAYED)
def test_e2b_makes_spectra_as_transformers(name: str) -> None:
    theirs = Gemma4AudioFeatureExtractor()([PLAYED[name]], return_tensors="np")
    (mask,) = theirs["input_features_mask"]
    ours = prepared_sound(PLAYED[name], spectra())
    frames = int(mask.sum())
    assert mask[:frames].all()
    assert ours.features.dtype == theirs["input_features"].dtype
    assert np.array_equal(ours.features, theirs["input_features"][:, :frames])
    assert ours.soft_tokens == mask[::2][::2].sum()  # as two convolutions of stride 2 leave it


@pytest.mark.parametrize("name", PLAYED)
def test_the_12b_takes_samples_as_transformers(name: str) -> None:
    theirs = Gemma4UnifiedAudioFeatureExtractor()(PLAYED[name], return_tensors="np")
    ours = prepared_sound(PLAYED[name], pieces())
    assert ours.features.dtype == theirs["input_features"].dtype
    assert np.array_equal(ours.features, theirs["input_features"])
    assert ours.soft_tokens == theirs["input_features_mask"].sum()


@pytest.mark.parametrize(
    ("file", "subtype", "rate", "channels"),
    [
        ("a.wav", "PCM_16", 16_000, 1),
        ("a.wav", "PCM_16", 8_000, 1),
        ("a.wav", "PCM_24", 44_100, 2),
        ("a.wav", "FLOAT", 48_000, 8),
        ("a.wav", "PCM_U8", 11_025, 1),
        ("a.wav", "PCM_16", 192_000, 2),
        ("a.flac", "PCM_16", 22_050, 1),
        ("a.ogg", "VORBIS", 32_000, 2),
        ("a.ogg", "OPUS", 48_000, 1),
        ("a.mp3", "MPEG_LAYER_III", 44_100, 2),
    ],
)
def test_a_file_is_read_as_load_audio_reads_it(
    file: str, subtype: str, rate: int, channels: int, tmp_path: Path
) -> None:
    path = tmp_path / file
    played = np.random.default_rng(3).uniform(-0.7, 0.7, (9_999, channels))
    soundfile.write(path, played, rate, subtype=subtype)
    found = read_sound(path, pieces()).samples
    theirs = load_audio(str(path), 16_000, backend="soundfile")
    assert found.dtype == theirs.dtype
    assert np.array_equal(found, theirs)
