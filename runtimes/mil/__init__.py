"""MIL evaluator: runs a saved Core ML package (ML Program) on any system, with numpy alone.

It executes the artifact's bytes under MIL semantics, in fp32 or in fp16 arithmetic. Not about
speed on a device, placement on the Neural Engine, or whether Core ML itself loads the package.
"""

from __future__ import annotations

from runtimes.images.prepared import ImageEncoder
from runtimes.multimodal.session import MultimodalSession
from runtimes.opening import EncoderOpening, Opening
from runtimes.session import Session
from runtimes.sounds.prepared import SoundEncoder


def open_artifact(asked: Opening) -> Session:
    """A Core ML package, as `MilSession.open` does."""
    from runtimes.mil.session import MilSession

    return MilSession.open(
        asked.path, arithmetic=asked.mil_arithmetic, prefill_chunk=asked.artifact.prefill_chunk
    )


def open_image_encoder(asked: EncoderOpening) -> ImageEncoder:
    """An image tower's package, as `MilImageEncoder.open` does."""
    from runtimes.mil.image_encoder import MilImageEncoder

    return MilImageEncoder.open(asked.release / asked.encoder.path, asked.mil_arithmetic)


def open_sound_encoder(asked: EncoderOpening) -> SoundEncoder:
    """An audio encoder's package, as `MilSoundEncoder.open` does."""
    from runtimes.mil.sound_encoder import MilSoundEncoder

    return MilSoundEncoder.open(asked.release / asked.encoder.path, asked.mil_arithmetic)


def open_multimodal_session(asked: EncoderOpening) -> MultimodalSession:
    """The functions of a decoder's package that take rows, as `MilMultimodalSession.open` does."""
    from runtimes.mil.multimodal_session import MilMultimodalSession

    return MilMultimodalSession.open(
        asked.release / asked.encoder.decoder,
        asked.mil_arithmetic,
        prefill_chunk=asked.artifact.prefill_chunk,
    )
