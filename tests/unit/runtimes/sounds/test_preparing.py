"""What an encoder is given of a sound: spectra or samples, and how many rows come of it.

Not about transformers, whose extractors `tests/parity/test_sound_processors.py` compares it with.
"""

from __future__ import annotations

import numpy as np
import pytest

from exporter.validation.sound_samples import RATE, noise
from runtimes.errors import SoundError
from runtimes.sounds.preparing import prepared_sound, soft_tokens_in
from runtimes.sounds.processing import SoundProcessing
from tests.sound_processing import SPECTRUM, pieces, spectra


def test_a_tone_is_loudest_in_its_band_and_the_last_frames_are_of_its_last_samples() -> None:
    found = prepared_sound(np.sin(np.pi * np.arange(8000) / 8).astype(np.float32), spectra())  # 1000 Hz
    assert found.features.shape == (1, 49, SPECTRUM.bands)
    assert found.features.dtype == np.float32
    assert found.soft_tokens == 13
    mel = 2595 * np.log10(1 + np.array([1000, 8000]) / 700)
    expected = round(129 * mel[0] / mel[1]) - 1  # bands lie evenly between two ends
    assert np.abs(found.features[0, 5:].argmax(axis=-1) - expected).max() <= 1


def test_silence_is_the_logarithm_of_the_floor() -> None:
    found = prepared_sound(np.zeros(4000, np.float32), spectra())
    assert np.allclose(found.features, np.log(1e-3))


def test_samples_are_cut_into_pieces_and_the_last_one_filled_up() -> None:
    samples = noise()[:1000]
    found = prepared_sound(samples, pieces())
    assert found.features.shape == (1, 2, 640)
    assert found.soft_tokens == 2
    assert np.array_equal(found.features.reshape(-1)[:1000], samples)
    assert not found.features.reshape(-1)[1000:].any()


@pytest.mark.parametrize("processing", [spectra(), pieces()], ids=["spectra", "pieces"])
def test_the_longest_sound_makes_as_many_rows_as_are_taken_and_one_sample_more_is_refused(
    processing: SoundProcessing,
) -> None:
    assert soft_tokens_in(30 * RATE, processing) == 750
    with pytest.raises(SoundError, match="the model hears 30 s of one sound; cut it"):
        prepared_sound(np.zeros(30 * RATE + 1, np.float32), processing)


def test_what_makes_no_frame_is_too_short() -> None:
    for processing, shortest in ((spectra(), 161), (pieces(), 1)):
        assert prepared_sound(np.zeros(shortest, np.float32), processing).soft_tokens == 1
        with pytest.raises(SoundError, match="too short"):
            prepared_sound(np.zeros(shortest - 1, np.float32), processing)
