"""From samples to what an audio encoder takes, as `SoundProcessing` says: numpy does what transformers'
extractors of Gemma 4 do with them, to the last bit.

Not about files (`sound_file`), nor about padding to a static graph's length, which drivers do.
"""

from __future__ import annotations

import math

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view
from numpy.typing import NDArray

from runtimes.errors import SoundError
from runtimes.sounds.prepared import PreparedSound
from runtimes.sounds.processing import SampleProcessing, SoundProcessing, SpectrumProcessing

Waveform = NDArray[np.float32]  # of one channel, in [-1, 1]


def prepared_sound(samples: Waveform, processing: SoundProcessing) -> PreparedSound:
    """Waveform at the sampling rate of the release, as its encoder takes them.

    Raises SoundError for fewer than make a soft token, or more than make as many as it takes.
    """
    require_length(len(samples), processing)
    rows = soft_tokens_in(len(samples), processing)
    if processing.samples is not None:
        return PreparedSound(_in_pieces(samples, processing.samples), rows)
    assert processing.spectrum is not None  # one of the two is there
    return PreparedSound(_log_mel(samples, processing.spectrum, processing.sampling_rate), rows)


def require_length(samples: int, processing: SoundProcessing) -> None:
    """Raise SoundError as `prepared_sound` does, before there are samples."""
    seconds = samples / processing.sampling_rate
    if seconds > processing.longest:
        longer = math.ceil(100 * seconds) / 100  # a sample too many is not as long as the model hears
        raise SoundError(
            f"lasts {longer:,.2f} s, and the model hears {processing.longest:g} s of one sound; cut it, or "
            "give pieces of it one by one"
        )
    if soft_tokens_in(samples, processing) < 1:
        raise SoundError(
            f"lasts {1000 * seconds:.3g} ms, too short for the model to hear; give a longer one"
        )


def soft_tokens_in(samples: int, processing: SoundProcessing) -> int:
    """Rows that come of so many."""
    if processing.samples is not None:
        return -(-samples // processing.samples.per_token)
    assert processing.spectrum is not None
    return -(-frames_of(samples, processing.spectrum) // processing.spectrum.per_token)


def frames_of(samples: int, spectrum: SpectrumProcessing) -> int:
    """Frames that lie in silence and sound; each wants the sample behind it too."""
    return max(0, (spectrum.lead + samples - spectrum.frame - 1) // spectrum.hop + 1)


def _in_pieces(samples: Waveform, pieces: SampleProcessing) -> NDArray[np.float32]:
    filled = np.pad(samples, (0, -len(samples) % pieces.per_token))
    return filled.reshape(1, -1, pieces.per_token)


def _log_mel(samples: Waveform, spectrum: SpectrumProcessing, rate: int) -> NDArray[np.float32]:
    # Single precision to the magnitudes and double from there on, as transformers has it.
    led = np.pad(samples, (spectrum.lead, 0))
    frames = sliding_window_view(led, spectrum.frame + 1)[:: spectrum.hop, :-1]
    window = np.hanning(spectrum.frame + 1)[:-1].astype(np.float32)
    magnitudes = np.abs(np.fft.rfft(frames * window, n=spectrum.fft, axis=-1))
    mel: NDArray[np.float64] = np.matmul(magnitudes, _mel_bands(spectrum, rate))
    return np.log(mel + spectrum.floor)[None].astype(np.float32)


def _mel_bands(spectrum: SpectrumProcessing, rate: int) -> NDArray[np.float64]:
    """[frequencies of the FFT, bands]: triangles that begin and end where their neighbours are highest, as
    far from each other as HTK's mel scale has it."""
    lowest, highest = (
        2595.0 * np.log10(1.0 + hertz / 700.0) for hertz in (spectrum.lowest, spectrum.highest)
    )
    corners = 700.0 * (np.power(10, np.linspace(lowest, highest, spectrum.bands + 2) / 2595.0) - 1.0)
    frequencies = np.linspace(0, rate // 2, spectrum.fft // 2 + 1)
    apart, away = np.diff(corners), corners - frequencies[:, None]
    rising, falling = -away[:, :-2] / apart[:-1], away[:, 2:] / apart[1:]
    bands: NDArray[np.float64] = np.maximum(0.0, np.minimum(rising, falling))
    return bands
