"""`SoundProcessing`: what is done to a sound before it enters an encoder, as a release says it.

Written once, as `sound_processing.json`: the driver here follows it, and so can any client. As strict as
the manifest. Not about doing it (`preparing`), nor about what onnxruntime-genai, LiteRT-LM or
transformers.js are told in files of their own.
"""

from __future__ import annotations

import json
import math
from dataclasses import dataclass
from pathlib import Path

from runtimes.processing_file import ProcessingFile, require_marks, require_within
from runtimes.records import RecordError, to_plain

SOUND_PROCESSING_NAME = "sound_processing.json"
SOUND_PROCESSING_SCHEMA_VERSION = 1
# What no model comes near; a stranger's file must not ask for gigabytes.
MOST_SOFT_TOKENS, MOST_BANDS, LONGEST_FRAME = 1 << 13, 1 << 10, 1 << 14
FASTEST = 192_000  # samples a second
LONGEST = 120.0  # seconds
MOST_SAMPLES_FILLED = 1 << 26  # of all frames, each filled up for the FFT


@dataclass(frozen=True)
class SpectrumProcessing:
    """Gemma 4 E2B, E4B: log mel spectra, ln(mel + floor) of magnitudes.

    frame, hop: samples, of one frame and between two, under a periodic Hann window. fft: samples a frame is
    filled up to. lead: samples of silence put before the sound. bands: HTK mel bands from lowest to highest
    Hz, no frame of which is made of more than the sound has. per_token: frames of one soft token.
    """

    frame: int
    hop: int
    fft: int
    lead: int
    bands: int
    lowest: float
    highest: float
    floor: float
    per_token: int


@dataclass(frozen=True)
class SampleProcessing:
    """Gemma 4 12B: so many samples of a sound as they are, the last ones filled up with silence, are one
    soft token."""

    per_token: int


@dataclass(frozen=True)
class SoundMarks:
    """Ids: one in place of each row, one before and one behind them. placeholder: how a chat template
    spells a sound."""

    soft: int
    begin: int
    end: int
    placeholder: str


@dataclass(frozen=True)
class SoundLength:
    """As long as so many soft tokens last."""

    soft_tokens: int
    seconds: float

    def scaled(self, soft_tokens: int) -> SoundLength:
        """What lasts so many of these soft tokens."""
        return SoundLength(soft_tokens, self.seconds * soft_tokens / self.soft_tokens)

    def within(self, soft_tokens: int) -> SoundLength:
        """The same, or the beginning of it that makes no more of them."""
        return self.scaled(max(0, min(self.soft_tokens, soft_tokens)))

    def lasting(self, seconds: float) -> SoundLength:
        """What so many seconds come to, the last soft token whole, or all of it where it is shorter."""
        return self.within(math.ceil(self.soft_tokens * seconds / self.seconds - 1e-9))

    @property
    def words(self) -> str:
        return f"{self.soft_tokens:,} soft tokens ({self.seconds:,.4g} s)"


@dataclass(frozen=True)
class SoundProcessing:
    """sampling_rate: Hz, of one channel, samples in [-1, 1]. soft_tokens: of a sound, at most. Of
    `spectrum` and `samples` one is None."""

    schema_version: int
    soft_tokens: int
    sampling_rate: int
    marks: SoundMarks
    spectrum: SpectrumProcessing | None
    samples: SampleProcessing | None

    @property
    def longest(self) -> float:
        """Seconds of a sound, at most."""
        if self.samples is not None:
            return self.soft_tokens * self.samples.per_token / self.sampling_rate
        assert self.spectrum is not None  # one of the two is there
        return self.soft_tokens * self.spectrum.per_token * self.spectrum.hop / self.sampling_rate

    @property
    def longest_sound(self) -> SoundLength:
        return SoundLength(self.soft_tokens, self.longest)

    def to_json(self) -> str:
        return json.dumps(to_plain(self), indent=2, ensure_ascii=False) + "\n"


def read_sound_processing(release: Path) -> SoundProcessing:
    """Read and check a release's `sound_processing.json`. Raises ProcessingError naming file and key."""
    return _FILE.read(release)


def require_possible_sounds(found: SoundProcessing) -> None:
    """Raise RecordError for values that have the right type and cannot be."""
    require_within("$.soft_tokens", found.soft_tokens, 1, MOST_SOFT_TOKENS)
    require_within("$.sampling_rate", found.sampling_rate, 1, FASTEST)
    marks = found.marks
    require_marks(marks.soft, marks.begin, marks.end, marks.placeholder)
    if (found.spectrum is None) == (found.samples is None):
        raise RecordError("$.spectrum", "one of spectrum and samples is null, and the other is not")
    if found.samples is not None:
        require_within("$.samples.per_token", found.samples.per_token, 1, LONGEST_FRAME)
    if (spectrum := found.spectrum) is not None:
        for name in ("frame", "hop", "fft"):
            require_within(f"$.spectrum.{name}", getattr(spectrum, name), 1, LONGEST_FRAME)
        require_within("$.spectrum.lead", spectrum.lead, 0, LONGEST_FRAME)
        require_within("$.spectrum.bands", spectrum.bands, 1, MOST_BANDS)
        require_within("$.spectrum.per_token", spectrum.per_token, 1, 64)
        if spectrum.fft < spectrum.frame:
            raise RecordError("$.spectrum.fft", f"is shorter than a frame of {spectrum.frame} samples")
        if not 0.0 <= spectrum.lowest < spectrum.highest <= found.sampling_rate / 2:
            raise RecordError("$.spectrum.highest", "leaves no bands above lowest at this sampling rate")
        if not 0.0 < spectrum.floor < 1e6:
            raise RecordError("$.spectrum.floor", "is no number that a logarithm can be taken of")
        if found.soft_tokens * spectrum.per_token * spectrum.fft > MOST_SAMPLES_FILLED:
            raise RecordError("$.soft_tokens", f"of {spectrum.per_token} frames each are too many to hold")
    if found.longest > LONGEST:
        raise RecordError("$.soft_tokens", f"last more than {LONGEST:g} s")


_FILE = ProcessingFile(
    name=SOUND_PROCESSING_NAME,
    schema_version=SOUND_PROCESSING_SCHEMA_VERSION,
    of=SoundProcessing,
    require_possible=require_possible_sounds,
    takes="sounds",
)
