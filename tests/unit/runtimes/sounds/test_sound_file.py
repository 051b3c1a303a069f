"""A file's sound as transformers reads it; what is left out is said, and what is none is refused.

Not about transformers, whose reading `tests/parity/test_sound_processors.py` compares it with.
"""

from __future__ import annotations

import os
import struct
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import soundfile
from numpy.typing import NDArray

from benchmarks.structure import ROOT
from exporter.validation.sound_samples import RATE, SOUNDS, noise, tones
from runtimes.errors import RuntimeUnavailable, SoundError
from runtimes.sounds.sound_file import read_sound
from tests.sound_processing import pieces, spectra

SPEED, BYTES = 24, 40  # where a WAV says how many samples a second, and how many bytes of them, it has


def written(
    path: Path, played: NDArray[np.floating] | None = None, rate: int = RATE, subtype: str = "PCM_16"
) -> Path:
    soundfile.write(path, tones() if played is None else played, rate, subtype=subtype)
    return path


def refused(path: Path) -> str:
    with pytest.raises(SoundError) as caught:
        read_sound(path, spectra())
    assert str(caught.value).startswith(f"{path}: ")
    assert str(caught.value).count(str(path)) == 1
    assert ";" in str(caught.value)  # and what to do next
    return str(caught.value)


@pytest.mark.parametrize("name", SOUNDS)
def test_the_samples_hold_what_the_numbers_say(name: str) -> None:
    found = read_sound(ROOT / "samples" / "sounds" / f"{name}.wav", spectra())
    assert np.abs(found.samples - SOUNDS[name]()).max() <= 1 / 32768
    assert found.remarks == ()


@pytest.mark.parametrize(
    ("name", "near"), [("a.wav", 1e-4), ("a.flac", 1e-4), ("a.ogg", 0.1), ("a.mp3", 0.2)]
)
def test_every_kind_is_read(name: str, near: float, tmp_path: Path) -> None:
    subtypes = {".ogg": "VORBIS", ".mp3": "MPEG_LAYER_III"}
    path = tmp_path / name
    found = read_sound(written(path, subtype=subtypes.get(path.suffix, "PCM_16")), spectra())
    assert len(found.samples) == len(tones())
    assert np.abs(found.samples - tones()).mean() < near


@pytest.mark.parametrize("rate", [8_000, 44_100, 192_000])
def test_a_rate_is_changed_to_the_models(rate: int, tmp_path: Path) -> None:
    at = np.arange(rate) / rate  # a second
    found = read_sound(written(tmp_path / "a.wav", 0.5 * np.sin(2 * np.pi * 440 * at), rate), spectra())
    assert len(found.samples) == RATE
    heard = np.abs(np.fft.rfft(found.samples))
    assert heard.argmax() == 440


@pytest.mark.parametrize(("channels", "remarks"), [(1, 0), (2, 0), (8, 1)])
def test_channels_are_averaged_and_more_than_two_are_said(
    channels: int, remarks: int, tmp_path: Path
) -> None:
    played = np.zeros((4000, channels))
    played[:, -1] = noise()[:4000]
    found = read_sound(written(tmp_path / "a.wav", played), spectra())
    assert np.abs(found.samples - played[:, -1] / channels).max() < 1e-4
    assert [f"has {channels} channels" in each for each in found.remarks] == [True] * remarks


def test_24_bits_and_floats_are_shares_of_full_scale(tmp_path: Path) -> None:
    for subtype in ("PCM_24", "FLOAT", "DOUBLE"):
        found = read_sound(written(tmp_path / "a.wav", subtype=subtype), spectra())
        assert np.abs(found.samples - tones()).max() < 1e-6


@pytest.mark.parametrize(("subtype", "near"), [("ULAW", 0.02), ("ALAW", 0.02), ("PCM_U8", 0.01)])
def test_what_telephones_and_old_recorders_write_is_read(subtype: str, near: float, tmp_path: Path) -> None:
    found = read_sound(written(tmp_path / "a.wav", subtype=subtype), spectra())
    assert len(found.samples) == len(tones())
    assert np.abs(found.samples - tones()).max() < near


@pytest.mark.parametrize("subtype", ["GSM610", "NMS_ADPCM_32", "G721_32"])
def test_codecs_of_telephones_in_which_nothing_can_be_sought_are_read(subtype: str, tmp_path: Path) -> None:
    found = read_sound(written(tmp_path / "a.wav", subtype=subtype), spectra())
    assert len(tones()) <= len(found.samples) < len(tones()) + 512  # filled up to a block
    assert np.corrcoef(found.samples[: len(tones())], tones())[0, 1] > 0.8


@pytest.mark.parametrize("format", ["FLAC", "MP3"])
def test_a_sound_is_what_is_in_it_and_not_what_its_name_says(format: str, tmp_path: Path) -> None:
    path = tmp_path / "a.wav"
    soundfile.write(path, tones(), RATE, format=format)
    found = read_sound(path, spectra())
    assert np.abs(found.samples - tones()).mean() < 0.2


def test_a_sound_mixed_too_loud_is_taken_as_it_is(tmp_path: Path) -> None:
    found = read_sound(written(tmp_path / "a.wav", 3 * tones(), subtype="FLOAT"), spectra())
    assert np.array_equal(found.samples, 3 * tones())


def test_silence_is_said(tmp_path: Path) -> None:
    found = read_sound(written(tmp_path / "a.wav", np.zeros(4000)), spectra())
    assert "is silent" in found.remarks[0]


def test_half_a_minute_is_read_to_its_end(tmp_path: Path) -> None:
    found = read_sound(written(tmp_path / "a.wav", np.full(30 * 44_100, 0.25), 44_100), spectra())
    assert len(found.samples) == 30 * RATE


def test_what_a_pipe_wrote_has_no_length_and_is_read(tmp_path: Path) -> None:
    path = written(tmp_path / "a.wav")
    content = bytearray(path.read_bytes())
    content[4:8] = content[40:44] = b"\xff" * 4
    path.write_bytes(content)
    assert len(read_sound(path, spectra()).samples) == len(tones())


def no_sound(path: Path) -> None:
    path.write_text("a poem")


def a_picture(path: Path) -> None:
    path.write_bytes(b"RIFF\x00\x00\x00\x00WEBPVP8 ")


def truncated(path: Path) -> None:
    path.write_bytes(written(path).read_bytes()[:-100])


def header_alone(path: Path) -> None:
    path.write_bytes(written(path).read_bytes()[:30])


def truncated_flac(path: Path) -> None:
    flac = written(path.with_suffix(".flac"))
    path.write_bytes(flac.read_bytes()[: flac.stat().st_size // 2])


def truncated_mp3(path: Path) -> None:
    mp3 = written(path.with_suffix(".mp3"), noise(3.0), subtype="MPEG_LAYER_III")
    path.write_bytes(mp3.read_bytes()[: mp3.stat().st_size // 2])


def one_behind_the_other(path: Path) -> None:
    ogg = written(path.with_suffix(".ogg"), subtype="VORBIS").read_bytes()
    path.write_bytes(ogg + ogg)


def a_sample_too_long(path: Path) -> None:
    written(path, np.zeros(30 * RATE + 1))


def of_no_samples(path: Path) -> None:
    written(path, np.zeros(0))


def too_short(path: Path) -> None:
    written(path, noise()[:160])


def saying(at: int, number: int) -> Callable[[Path], None]:
    """A WAV with another number at this place of its header."""

    def write(path: Path) -> None:
        content = bytearray(written(path).read_bytes())
        content[at : at + 4] = struct.pack("<I", number)
        path.write_bytes(content)

    return write


def not_numbers(path: Path) -> None:
    played = tones().copy()
    played[5000] = np.nan
    written(path, played, subtype="FLOAT")


def endless(path: Path) -> None:
    played = tones().copy()
    played[5000] = -np.inf
    written(path, played, subtype="FLOAT")


def not_scaled(path: Path) -> None:
    written(path, 32767 * tones(), subtype="FLOAT")


def too_long(path: Path) -> None:
    written(path, np.zeros(31 * RATE))


def an_hour(path: Path) -> None:
    """Its bytes are not there: a WAV of so many would be read for its header alone."""
    with path.open("wb") as file:
        size = 3600 * 44_100 * 4
        file.write(b"RIFF" + struct.pack("<I", 36 + size) + b"WAVEfmt ")
        file.write(struct.pack("<IHHIIHH", 16, 1, 2, 44_100, 44_100 * 4, 4, 16))
        file.write(b"data" + struct.pack("<I", size))
        file.truncate(44 + size)


@pytest.mark.parametrize(
    ("make", "says"),
    [
        (no_sound, "is no WAV, FLAC, Ogg or MP3"),
        (Path.touch, "is no WAV, FLAC, Ogg or MP3"),
        (a_picture, "is no WAV, FLAC, Ogg or MP3"),
        (truncated, "bytes of the 19,236 it says it has"),
        (header_alone, "bytes of the 19,236 it says it has"),
        (saying(BYTES, 20_000), "has 19,200 bytes of the 20,000 it says it has"),
        (
            saying(BYTES, 0),
            "says it has no samples, and 19,200 bytes follow: it was not recorded",
        ),
        (one_behind_the_other, "holds several sounds, one behind the other; save them apart"),
        (truncated_flac, "cannot be read to its end"),
        (truncated_mp3, "and says it lasts 3.0"),
        (of_no_samples, "lasts 0 ms, too short"),
        (too_short, "lasts 10 ms, too short"),
        (saying(SPEED, 0), "cannot be read to its end"),
        (saying(SPEED, 1), "has 1 samples a second; resample it to 16,000"),
        (saying(SPEED, 384_000), "has 384,000 samples a second"),
        (lambda path: written(path, np.zeros((2000, 9))), "has 9 channels"),
        (not_numbers, "samples that are no numbers"),
        (endless, "samples that are no numbers"),
        (not_scaled, "full scale is 1"),
        (too_long, "lasts 31.00 s, and the model hears 30 s of one sound"),
        (a_sample_too_long, "lasts 30.01 s, and the model hears 30 s of one sound; cut it, or give pieces"),
        (an_hour, "lasts 3,600.00 s"),
        (Path.mkdir, "is not a plain file"),
        (os.mkfifo, "is not a plain file"),
        (lambda path: path.symlink_to("nowhere"), "no such file"),
    ],
)
def test_what_is_no_whole_sound_is_refused(
    make: Callable[[Path], object], says: str, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    make(tmp_path / "a.wav")
    assert says in refused(tmp_path / "a.wav")
    assert capfd.readouterr().err == "", "libsndfile's readers have something to say of an MP3"


def test_the_12b_hears_less_than_a_frame_of_the_others(tmp_path: Path) -> None:
    too_short(tmp_path / "a.wav")
    found = read_sound(tmp_path / "a.wav", pieces())
    assert len(found.samples) == 160


@pytest.mark.parametrize("name", ["soundfile", "soxr"])
def test_without_what_reads_it_the_extra_is_named(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(
        "runtimes.sounds.sound_file.find_spec", lambda each: None if each == name else object()
    )
    with pytest.raises(RuntimeUnavailable, match=rf"^{name}, which.*gemma-export\[run\]"):
        read_sound(written(tmp_path / "a.wav"), spectra())
