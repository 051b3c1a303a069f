"""`DecodedSound`: a sound of a file, in one channel at the rate of the model, as transformers reads a file.

libsndfile decodes, channels are averaged, soxr resamples. Not about what is made of samples (`preparing`).
"""

from __future__ import annotations

import math
import os
import struct
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from runtimes.errors import RuntimeUnavailable, SoundError
from runtimes.excerpt import plain_excerpt
from runtimes.native_log import native_log_kept
from runtimes.sounds.preparing import Waveform, require_length
from runtimes.sounds.processing import SoundProcessing
from runtimes.strict_json import StrictJsonError, plain_file

if TYPE_CHECKING:
    from soundfile import SoundFile

NAMES = "WAV, FLAC, Ogg or MP3"
MOST_CHANNELS = 8  # 7.1; half a minute of them at the fastest rate is 180 MB
SLOWEST, FASTEST = 1_000, 192_000  # samples a second
# Full scale is 1, and a recording that was mixed too loud has a few times that.
LOUDEST = 16.0
UNKNOWN_LENGTH = 0x7FFFFF00  # what writes to a pipe says it will have written
MOST_CHUNKS = 64  # of a WAV before its samples; there are some three
OGG_HEADER = 27  # bytes of a page, and then one for each of its segments
LARGEST_OGG_HEADER = OGG_HEADER + 255
SLACK = 0.1  # seconds: an MP3 without a table of its frames gives a guess of its length


@dataclass(frozen=True)
class DecodedSound:
    """samples: at the sampling rate that was asked for. remarks: what was left out of the file, a sentence
    each."""

    samples: Waveform
    remarks: tuple[str, ...]


def read_sound(path: Path, processing: SoundProcessing) -> DecodedSound:
    """Raises SoundError for what is no whole sound, or is longer or shorter than the model hears, and
    RuntimeUnavailable without soundfile and soxr."""
    if missing := [name for name in ("soundfile", "soxr") if find_spec(name) is None]:
        raise RuntimeUnavailable(
            f"{' and '.join(missing)}, which reads sounds, is missing; install gemma-export[run]"
        )
    try:
        with plain_file(path) as descriptor:
            return _opened(path, descriptor, processing)
    except FileNotFoundError as error:
        raise SoundError(f"{path}: no such file; check the path") from error
    except OSError as error:
        raise SoundError(f"{path}: cannot be read ({error.strerror}); check its permissions") from error
    except StrictJsonError as error:
        raise SoundError(f"{path}: {error}; give a sound of {NAMES}") from error
    except SoundError as error:
        raise SoundError(f"{path}: {error}") from error


def _opened(path: Path, descriptor: int, processing: SoundProcessing) -> DecodedSound:
    import soundfile

    if not _known(os.pread(descriptor, 12, 0)):
        raise SoundError(f"is no {NAMES}; save the sound as one of these")
    _require_whole_riff(descriptor)
    _require_one_ogg(descriptor)
    try:
        with native_log_kept(), soundfile.SoundFile(descriptor, closefd=False) as opened:
            return _read(path, opened, processing)
    except soundfile.LibsndfileError as error:
        why = plain_excerpt(error.error_string)
        raise SoundError(f"cannot be read to its end ({why}); copy it again, or save it as WAV") from error


def _read(path: Path, opened: SoundFile, processing: SoundProcessing) -> DecodedSound:
    rate, channels = opened.samplerate, opened.channels
    if not SLOWEST <= rate <= FASTEST:
        raise SoundError(f"has {rate:,} samples a second; resample it to {processing.sampling_rate:,}")
    if channels > MOST_CHANNELS:
        raise SoundError(f"has {channels} channels, and {MOST_CHANNELS} are read at most; mix them to one")
    require_length(_resampled_length(opened.frames, rate, processing.sampling_rate), processing)
    # With their number: of some telephones' codecs libsndfile does not know where it stands in a file.
    played = opened.read(opened.frames, dtype="float32", always_2d=True)
    if len(played) < opened.frames - SLACK * rate:
        raise SoundError(
            f"ends at {len(played) / rate:.2f} s, and says it lasts {opened.frames / rate:.2f} s; "
            "copy it again"
        )
    _require_levels(played)
    samples = _one_channel(played)
    remarks = []
    if channels > 2:
        remarks.append(f"{path}: has {channels} channels, of which the model hears the mean.")
    if not samples.any():
        remarks.append(f"{path}: is silent.")
    return DecodedSound(_resampled(samples, rate, processing.sampling_rate), tuple(remarks))


def _known(start: bytes) -> bool:
    """libsndfile knows many more, of which few are meant and some were never looked after."""
    if start[:4] == b"RIFF":
        return start[8:] == b"WAVE"
    is_frame = start[:1] == b"\xff" and start[1:2] >= b"\xe0"  # of an MP3 without a title before it
    return start[:4] in (b"fLaC", b"OggS") or start[:3] == b"ID3" or is_frame


def _require_whole_riff(descriptor: int) -> None:
    """libsndfile takes what there is of a WAV, and says nothing."""
    start = os.pread(descriptor, 8, 0)
    if start[:4] != b"RIFF":
        return
    (said,) = struct.unpack("<I", start[4:])
    size = os.fstat(descriptor).st_size
    _require_bytes(said, size - 8)
    if (found := _data_of(descriptor, size)) is None:
        return
    begin, said = found
    if said == 0 and begin < size:
        raise SoundError(
            f"says it has no samples, and {size - begin:,} bytes follow: it was not recorded to its end; "
            "save it again as WAV"
        )
    _require_bytes(said, size - begin)


def _require_bytes(said: int, there: int) -> None:
    if there + 1 < said < UNKNOWN_LENGTH:  # some leave out the last byte where it is a filler
        raise SoundError(f"has {there:,} bytes of the {said:,} it says it has; copy it again")


def _data_of(descriptor: int, size: int) -> tuple[int, int] | None:
    """Where the samples of a WAV begin, and how many bytes it says they have; None without."""
    at = 12
    for _ in range(MOST_CHUNKS):
        header = os.pread(descriptor, 8, at)
        if len(header) < 8 or at + 8 > size:
            return None
        name, (said,) = header[:4], struct.unpack("<I", header[4:])
        if name == b"data":
            return at + 8, said
        at += 8 + said + said % 2
    return None


def _require_one_ogg(descriptor: int) -> None:
    """Of sounds one behind the other, as radio sends them, libsndfile takes the first, and says nothing."""
    at, begun = 0, False
    while (page := os.pread(descriptor, LARGEST_OGG_HEADER, at))[:4] == b"OggS" and len(page) >= OGG_HEADER:
        begins = bool(page[5] & 2)
        if begins and begun:
            raise SoundError("holds several sounds, one behind the other; save them apart")
        begun = begun or not begins
        segments = page[26]
        at += OGG_HEADER + segments + sum(page[OGG_HEADER : OGG_HEADER + segments])


def _require_levels(played: NDArray[np.float32]) -> None:
    if not np.isfinite(played).all():
        raise SoundError("has samples that are no numbers; save it with 16 or 24 bits")
    if len(played) and (loudest := float(np.abs(played).max())) > LOUDEST:
        raise SoundError(f"has a sample of {loudest:g}, and full scale is 1; save it with 16 or 24 bits")


def _one_channel(played: NDArray[np.float32]) -> Waveform:
    """played: [samples, channels]."""
    return played[:, 0] if played.shape[1] == 1 else played.T.mean(axis=0)


def _resampled(samples: Waveform, rate: int, wanted: int) -> Waveform:
    import soxr

    if rate == wanted:
        return np.ascontiguousarray(samples)
    length = _resampled_length(len(samples), rate, wanted)
    found = soxr.resample(samples, rate, wanted, quality="soxr_hq")
    return np.pad(found, (0, max(0, length - len(found))))[:length]


def _resampled_length(samples: int, rate: int, wanted: int) -> int:
    return math.ceil(samples * wanted / rate)
