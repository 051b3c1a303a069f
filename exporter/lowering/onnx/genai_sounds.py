"""What onnxruntime-genai is told of sounds: a part of `genai_config.json`, audio_feature_extraction.json.

Its processor makes spectra of a sound file; the speech graph makes rows of them. It makes them for a model
that takes images too, and for Gemma 4 alone: releases that hear and do not see, and those of Gemma 4 12B,
are releases of text for genai. It takes one sound in a prompt, and of one that is too long its beginning.
Its resampling is fit for whole multiples of the sampling rate alone (measured: 44.1 kHz to 16 kHz adds
noise, 32 and 48 kHz do not), and it refuses slower sounds. Not about images (`genai_images`).
Keys: onnxruntime-genai 0.18, `src/config.cpp`, and onnxruntime-extensions, `shared/api`.
"""

from __future__ import annotations

from typing import Any

from exporter.errors import LoweringError
from exporter.lowering.onnx.audio_trace import FEATURES, MASK, SPECTRUM
from exporter.lowering.onnx.client_spectra import require_usual
from exporter.lowering.onnx.multimodal_graphs import GENAI_NAMES
from runtimes.sounds.processing import SoundProcessing, SpectrumProcessing

EXTRACTOR_NAME = "audio_feature_extraction.json"


def with_sounds(model: dict[str, Any]) -> dict[str, Any]:
    """The "model" of a genai_config.json, of text and images, with what sounds need."""
    embedding = dict(model["embedding"])
    return {
        **model,
        "embedding": embedding | {"inputs": {**embedding["inputs"], FEATURES: FEATURES}},
        "speech": {
            "filename": GENAI_NAMES.towers["audio"],
            "config_filename": EXTRACTOR_NAME,
            # Its own name of the number of rows is no input of the graph: the mask tells that.
            "inputs": {"audio_embeds": SPECTRUM, "attention_mask": MASK, "audio_sizes": "audio_sizes"},
            "outputs": {FEATURES: FEATURES},
        },
    }


def feature_extraction(processing: SoundProcessing) -> dict[str, Any]:
    """What genai's processor is to do with a sound."""
    spectrum, rate = require_usual(processing), processing.sampling_rate
    attributes = {
        "feature_size": spectrum.bands,
        "sampling_rate": rate,
        "frame_length_ms": 1000 * spectrum.frame / rate,
        "hop_length_ms": 1000 * spectrum.hop / rate,
        "min_frequency": spectrum.lowest,
        "max_frequency": spectrum.highest,
        "preemphasis": 0.0,
        "preemphasis_htk_flavor": 1,
        "fft_overdrive": _overdrive(spectrum),
        "mel_floor": spectrum.floor,
    }
    longest = processing.soft_tokens * spectrum.per_token * spectrum.hop
    decoding = {"target_sample_rate": rate, "stereo_to_mono": 1, "max_samples": longest}
    steps = [
        {"name": "audio_decoder", "type": "AudioDecoder", "attrs": decoding},
        {"name": "gemma4_log_mel", "type": "Gemma4LogMel", "attrs": attributes},
    ]
    return {"feature_extraction": {"sequence": [{"operation": each} for each in steps]}}


def _overdrive(spectrum: SpectrumProcessing) -> int:
    """Whether frames are filled up to twice the next power of two, 1, or to that, 0."""
    filled = 1 << (spectrum.frame - 1).bit_length()
    if spectrum.fft not in (filled, 2 * filled):
        raise LoweringError(
            "sound_processing.json",
            f"fills frames up to {spectrum.fft} samples, and onnxruntime-genai to {filled} or twice that",
            "export with --components text,vision",
        )
    return int(spectrum.fft != filled)
