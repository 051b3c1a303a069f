"""Drivers of ONNX artifacts: ONNX Runtime on the CPU."""

from __future__ import annotations

from runtimes.images.prepared import ImageEncoder
from runtimes.multimodal.session import MultimodalSession
from runtimes.opening import EncoderOpening, Opening
from runtimes.session import Session
from runtimes.sounds.prepared import SoundEncoder


def open_artifact(asked: Opening) -> Session:
    """An ONNX graph, as `OnnxSession` does."""
    from runtimes.onnx.session import OnnxSession

    return OnnxSession(asked.path, threads=asked.threads)


def open_image_encoder(asked: EncoderOpening) -> ImageEncoder:
    """A tower, as `OnnxImageEncoder` does."""
    from runtimes.onnx.image_encoder import OnnxImageEncoder

    return OnnxImageEncoder(asked)


def open_sound_encoder(asked: EncoderOpening) -> SoundEncoder:
    """An audio encoder, as `OnnxSoundEncoder` does."""
    from runtimes.onnx.sound_encoder import OnnxSoundEncoder

    return OnnxSoundEncoder(asked)


def open_multimodal_session(asked: EncoderOpening) -> MultimodalSession:
    """A decoder that takes a tower's rows, as `OnnxMultimodalSession` does."""
    from runtimes.onnx.multimodal_session import OnnxMultimodalSession

    return OnnxMultimodalSession(asked)
