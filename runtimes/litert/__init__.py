"""The LiteRT driver: `.tflite` and `.litertlm` files through ai_edge_litert's CompiledModel.

Not about LiteRT-LM's engine, which has a tokenizer, templates and sampling of its own.
"""

from __future__ import annotations

from runtimes.images.prepared import ImageEncoder
from runtimes.multimodal.session import MultimodalSession
from runtimes.opening import EncoderOpening, Opening
from runtimes.session import Session
from runtimes.sounds.prepared import SoundEncoder


def open_artifact(asked: Opening) -> Session:
    """A `.tflite` or `.litertlm`, as `LiteRtSession.open` does."""
    from runtimes.litert.session import LiteRtSession

    return LiteRtSession.open(asked.path, threads=asked.threads)


def open_image_encoder(asked: EncoderOpening) -> ImageEncoder:
    """The tower of a `.litertlm`, as `LiteRtImageEncoder.open` does."""
    from runtimes.litert.image_encoder import LiteRtImageEncoder

    return LiteRtImageEncoder.open(asked.release / asked.encoder.path, threads=asked.threads)


def open_sound_encoder(asked: EncoderOpening) -> SoundEncoder:
    """The audio encoder of a `.litertlm`, as `LiteRtSoundEncoder.open` does."""
    from runtimes.litert.sound_encoder import LiteRtSoundEncoder

    path, soft_tokens = asked.release / asked.encoder.path, asked.encoder.soft_tokens
    return LiteRtSoundEncoder.open(path, soft_tokens, threads=asked.threads)


def open_multimodal_session(asked: EncoderOpening) -> MultimodalSession:
    """The decoder of a `.litertlm`, as `LiteRtMultimodalSession.of_release` does."""
    from runtimes.litert.multimodal_session import LiteRtMultimodalSession

    return LiteRtMultimodalSession.of_release(asked)
