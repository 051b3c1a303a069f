"""What a bundle holds for sounds: the models they go through.

Not about the models themselves (`audio.graphs`), what sounds ask of the text model (`row_marks`), nor the
metadata of the whole bundle (`metadata`).
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from exporter.errors import LoweringError
from exporter.formats.litert import SOUND_CALL
from exporter.lowering.interface import LoweringOrder, SoundOrder
from exporter.lowering.litert.audio.graphs import (
    build_audio_adapter,
    build_audio_encoder,
    build_end_of_audio,
)
from exporter.lowering.litert.bundle_models import model_section
from exporter.lowering.litert.container_writing import SectionSource
from exporter.lowering.litert.writing import Written
from exporter.quantization.store.checkpoint import QuantizedCheckpoint, StoredAudio
from runtimes.litert.sound_models import AUDIO_ADAPTER, AUDIO_ENCODER, END_OF_AUDIO


def sound_sections(
    order: LoweringOrder, sounds: SoundOrder, end: NDArray[np.float32], written: Written
) -> list[SectionSource]:
    """What is put behind the text model of a bundle. end: embedding of the token that ends a sound."""
    audio, length = audio_of(order.checkpoint), min(SOUND_CALL, sounds.soft_tokens)
    return [
        model_section(AUDIO_ENCODER, build_audio_encoder(audio, length), written),
        model_section(AUDIO_ADAPTER, build_audio_adapter(audio, length), written),
        model_section(END_OF_AUDIO, build_end_of_audio(end), written),
    ]


def audio_of(checkpoint: QuantizedCheckpoint) -> StoredAudio:
    """Raises LoweringError for a checkpoint without one."""
    audio = checkpoint.components.audio
    if audio is None:
        raise LoweringError(
            "LiteRT", "sounds are ordered, and the checkpoint has no audio encoder", "order text alone"
        )
    return audio
