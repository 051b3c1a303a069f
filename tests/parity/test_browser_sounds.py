"""What transformers.js' `read_audio` makes of WAVs in Chromium, as docs/web.md and cards have it.

Matrix: one sound in 16 bits, in floats, and as one of two channels. Not asserted: other rates, which its
own resampler reads; other browsers.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import soundfile

from benchmarks.browser_sounds import RATE, read_by_browser
from exporter.validation.sound_samples import chirp, noise
from tests.web_engines import PACKAGES, require


def test_chromium_reads_floats_exactly_and_16_bits_above_zero_too_loud(tmp_path: Path) -> None:
    require("wasm")
    one = chirp(0.3)
    both = np.stack([one, noise(0.3)], axis=1)
    for name, samples, subtype in (
        ("floats.wav", one, "FLOAT"),
        ("whole.wav", one, "PCM_16"),
        ("both.wav", both, "FLOAT"),
    ):
        soundfile.write(tmp_path / name, samples, RATE, subtype=subtype)
    (tmp_path / "scratch").mkdir()
    found = read_by_browser(sorted(tmp_path.glob("*.wav")), tmp_path / "scratch", PACKAGES)
    assert np.array_equal(found["floats.wav"], one)
    levels, _ = soundfile.read(tmp_path / "whole.wav", dtype="int16")
    told = np.where(levels > 0, levels / np.float32(32_767), levels / np.float32(32_768))
    assert np.abs(found["whole.wav"] - told).max() < 1e-7
    assert np.abs(found["whole.wav"] - levels / np.float32(32_768)).max() > 1e-5
    assert np.abs(found["both.wav"] - both.mean(axis=1) * np.sqrt(2)).max() < 1e-6
