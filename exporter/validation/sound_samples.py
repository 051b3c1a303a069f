"""Sounds made of numbers, which a release is tried with: a chirp, tones and noise.

float32 [samples] of one channel within [-1, 1], the same on every machine; the files of samples/sounds hold
them too. Not about files, nor about what is made of a sound (`runtimes.sounds`).
"""

from __future__ import annotations

import wave
from collections.abc import Callable, Mapping
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from exporter.planning.media_room import SHORTEST_SOUND
from runtimes.sounds.preparing import Waveform

RATE = 16_000  # samples a second
LOUDNESS = 0.5
PITCHES = (440.0, 660.0, 1760.0)  # Hz


def chirp(seconds: float = SHORTEST_SOUND, lowest: float = 200.0, highest: float = 4000.0) -> Waveform:
    """A pitch that rises as fast at its end as at its start."""
    at = _times(seconds)
    return _loud(np.sin(2 * np.pi * (lowest * at + (highest - lowest) / (2 * seconds) * at**2)))


def tones(seconds: float = 0.6, pitches: tuple[float, ...] = PITCHES) -> Waveform:
    """One pitch after the other, each as long, a quarter of silence behind each."""
    at = _times(seconds)
    turn, within = np.divmod(at / seconds * len(pitches), 1.0)
    pitch = np.array(pitches)[turn.astype(np.int64)]
    return _loud(np.sin(2 * np.pi * pitch * at) * (within < 0.75))


def noise(seconds: float = 0.3, seed: int = 7) -> Waveform:
    """Every sample by chance."""
    return _loud(np.random.default_rng(seed).uniform(-1.0, 1.0, len(_times(seconds))))


SOUNDS: Mapping[str, Callable[[], Waveform]] = {"chirp": chirp, "tones": tones, "noise": noise}
"""By name; what is wrong with the order of frames shows in the first."""


def from_file(path: Path) -> Waveform:
    """One of samples/sounds, whose numbers are rounded to 16 bits, which spectra of near silence show."""
    with wave.open(str(path), "rb") as opened:
        frames = opened.readframes(opened.getnframes())
    return (np.frombuffer(frames, "<i2") / 32768).astype(np.float32)


def to_file(samples: Waveform, path: Path) -> None:
    """What `from_file` reads back, rounded to 16 bits."""
    with wave.open(str(path), "wb") as opened:
        opened.setparams((1, 2, RATE, 0, "NONE", ""))
        opened.writeframes(np.round(samples * 32768).clip(-32768, 32767).astype("<i2").tobytes())


def _times(seconds: float) -> NDArray[np.float64]:
    return np.arange(round(seconds * RATE)) / RATE


def _loud(samples: NDArray[np.float64]) -> Waveform:
    return (LOUDNESS * samples).astype(np.float32)
