"""The LiteRT driver: `.tflite` and `.litertlm` files through ai_edge_litert's CompiledModel.

Not about LiteRT-LM's engine, which has a tokenizer, templates and sampling of its own.
"""

from __future__ import annotations

from pathlib import Path

from runtimes.errors import ArtifactError
from runtimes.formats import SUFFIXES, Format
from runtimes.images.prepared import ImageEncoder
from runtimes.multimodal.session import MultimodalSession
from runtimes.opening import EncoderOpening, Opening
from runtimes.session import Session
from runtimes.sounds.prepared import SoundEncoder


def open_artifact(asked: Opening) -> Session:
    """A `.tflite` or `.litertlm`, as `LiteRtSession.open` does. Raises ArtifactError for one in the other's
    place too: what runs here would not open in LiteRT-LM."""
    from runtimes.litert.session import LiteRtSession

    session = LiteRtSession.open(asked.path, threads=asked.threads)
    try:
        _require_format(asked.path, asked.artifact.format)
    except ArtifactError:
        session.close()
        raise
    return session


def _require_format(path: Path, format: Format) -> None:
    from runtimes.litert.container import is_container

    found: Format = "litertlm" if is_container(path) else "tflite"
    if found != format:
        raise ArtifactError(
            f"{path}: holds a {SUFFIXES[found]}, and its release calls it a {SUFFIXES[format]}; "
            "copy the release again"
        )


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
