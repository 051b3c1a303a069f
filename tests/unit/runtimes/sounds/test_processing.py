"""`sound_processing.json` comes back as it was written, and is read as strictly as the manifest.

What it has in common with `image_processing.json` is tried on that one.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest

from runtimes.errors import ProcessingError
from runtimes.sounds.processing import SOUND_PROCESSING_NAME, SoundProcessing, read_sound_processing
from tests.sound_processing import pieces, spectra
from tests.unit.runtimes.images.test_processing import changed


@pytest.mark.parametrize("found", [spectra(), pieces(), spectra(375)])
def test_what_was_written_is_read(found: SoundProcessing, tmp_path: Path) -> None:
    (tmp_path / SOUND_PROCESSING_NAME).write_text(found.to_json(), encoding="utf-8")
    assert read_sound_processing(tmp_path) == found


def test_the_longest_sound_is_half_a_minute() -> None:
    assert spectra().longest == pieces().longest == 30.0


@pytest.mark.parametrize(
    ("found", "keys", "value", "says"),
    [
        (spectra(), "soft_tokens", 0, r"\$.soft_tokens: expected 1 to 8192"),
        (spectra(), "sampling_rate", 0, r"\$.sampling_rate"),
        (spectra(), "sampling_rate", 10**9, r"\$.sampling_rate"),
        (spectra(), "sampling_rate", 8000, r"\$.spectrum.highest: leaves no bands"),
        (spectra(), "marks.end", 256000, r"\$.marks: has the same id"),
        (spectra(), "marks.placeholder", "", r"\$.marks.placeholder"),
        (spectra(), "spectrum", None, r"\$.spectrum: one of spectrum and samples"),
        (spectra(), "samples", {"per_token": 640}, r"\$.spectrum: one of spectrum and samples"),
        (spectra(), "spectrum.hop", 0, r"\$.spectrum.hop"),
        (spectra(), "spectrum.fft", 256, r"\$.spectrum.fft: is shorter than a frame of 320"),
        (spectra(), "spectrum.bands", 10**6, r"\$.spectrum.bands"),
        (spectra(), "spectrum.highest", -1.0, r"\$.spectrum.highest"),
        (spectra(), "spectrum.floor", 0.0, r"\$.spectrum.floor"),
        (spectra(), "spectrum.dither", 0.0, r"\$.spectrum.dither: unknown key"),
        (spectra(8192), "spectrum.fft", 1 << 14, r"\$.soft_tokens: of 4 frames each are too many"),
        (spectra(), "spectrum.hop", 1 << 12, r"\$.soft_tokens: last more than 120 s"),
        (pieces(), "samples.per_token", 1 << 13, r"\$.soft_tokens: last more than 120 s"),
        (pieces(), "samples.per_token", 0, r"\$.samples.per_token"),
        (pieces(), "schema_version", 2, "use the gemma-export that wrote it"),
    ],
)
def test_what_cannot_be_is_refused_with_its_key(
    found: SoundProcessing, keys: str, value: Any, says: str, tmp_path: Path
) -> None:
    path = tmp_path / SOUND_PROCESSING_NAME
    path.write_text(changed(found, keys, value), encoding="utf-8")
    with pytest.raises(ProcessingError, match=f"^{re.escape(str(path))}: .*{says}"):
        read_sound_processing(tmp_path)


def test_without_the_file_it_is_said_what_it_is_for(tmp_path: Path) -> None:
    with pytest.raises(ProcessingError, match="no such file, and the release takes sounds by it"):
        read_sound_processing(tmp_path)
