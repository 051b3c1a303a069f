"""What transformers.js is told of sounds: the settings of its feature extractor.

It makes spectra of samples that its caller read, at the model's sampling rate, of a sound's first half
minute, and fills them up with silence, which its mask tells. It takes one sound in a prompt.
Not about names (`web_multimodal`).
Source: @huggingface/transformers 4.3.1, `models/gemma3n`, `models/gemma4`.
"""

from __future__ import annotations

from typing import Any

from exporter.lowering.onnx.client_spectra import require_usual
from runtimes.sounds.processing import SoundProcessing


def sound_lengths(processing: SoundProcessing) -> dict[str, Any]:
    """What its processor counts tokens by."""
    spectrum = require_usual(processing)
    samples = spectrum.per_token * spectrum.hop
    return {
        "audio_ms_per_token": 1000 * samples // processing.sampling_rate,
        "audio_seq_length": processing.soft_tokens,
    }


def sound_settings(processing: SoundProcessing) -> dict[str, Any]:
    """What its feature extractor reads."""
    spectrum = require_usual(processing)
    return {
        "feature_extractor_type": "Gemma4AudioFeatureExtractor",
        "feature_size": spectrum.bands,
        "fft_length": spectrum.fft,
        "frame_length": spectrum.frame,
        "hop_length": spectrum.hop,
        "max_frequency": spectrum.highest,
        "mel_floor": spectrum.floor,
        "min_frequency": spectrum.lowest,
        "padding_value": 0.0,
        "preemphasis": 0.0,
        "preemphasis_htk_flavor": True,
        "sampling_rate": processing.sampling_rate,
    }
