"""`SoundProcessing` of the families as published, for tests. Not about reading it of a checkpoint."""

from __future__ import annotations

from runtimes.sounds.processing import (
    SOUND_PROCESSING_SCHEMA_VERSION,
    SampleProcessing,
    SoundMarks,
    SoundProcessing,
    SpectrumProcessing,
)

SOUND_MARKS = SoundMarks(258881, 256000, 258883, placeholder="<|audio|>")
SPECTRUM = SpectrumProcessing(
    frame=320,
    hop=160,
    fft=512,
    lead=160,
    bands=128,
    lowest=0.0,
    highest=8000.0,
    floor=1e-3,
    per_token=4,
)


def spectra(soft_tokens: int = 750, marks: SoundMarks = SOUND_MARKS) -> SoundProcessing:
    """Of E2B and E4B."""
    return SoundProcessing(SOUND_PROCESSING_SCHEMA_VERSION, soft_tokens, 16_000, marks, SPECTRUM, None)


def pieces(soft_tokens: int = 750, marks: SoundMarks = SOUND_MARKS) -> SoundProcessing:
    """Of the 12B."""
    return SoundProcessing(
        SOUND_PROCESSING_SCHEMA_VERSION, soft_tokens, 16_000, marks, None, SampleProcessing(640)
    )
