"""What clients of ONNX releases take for granted of spectra, and cannot be told otherwise.

onnxruntime-genai and transformers.js have Gemma 4's numbers in their code where no file of theirs has words
for them. Not about what they are told (`genai_sounds`, `web_sounds`).
"""

from __future__ import annotations

from exporter.errors import LoweringError
from runtimes.sounds.processing import SoundProcessing, SpectrumProcessing

PER_TOKEN = 4  # frames that they count a soft token by


def require_usual(processing: SoundProcessing) -> SpectrumProcessing:
    """The spectra of a release. Raises LoweringError for those that a client would make otherwise."""
    spectrum = processing.spectrum
    if spectrum is None:
        raise LoweringError(
            "sound_processing.json",
            "has samples as they are, and clients make spectra",
            "this is a defect of gemma-export, report it",
        )
    usual = {"lead": spectrum.frame // 2, "per_token": PER_TOKEN}
    for key, value in usual.items():
        if (found := getattr(spectrum, key)) != value:
            raise LoweringError(
                "sound_processing.json",
                f"has {key} {found}, and onnxruntime-genai and transformers.js have {value} in their code",
                "export with --components text,vision",
            )
    return spectrum
