"""The LiteRT driver: `.tflite` and `.litertlm` files through ai_edge_litert's CompiledModel.

Not about LiteRT-LM's engine, which has a tokenizer, templates and sampling of its own.
"""

from __future__ import annotations

from runtimes.images.prepared import ImageEncoder
from runtimes.images.session import ImageSession
from runtimes.opening import ImageOpening, Opening
from runtimes.session import Session


def open_artifact(asked: Opening) -> Session:
    """A `.tflite` or `.litertlm`, as `LiteRtSession.open` does."""
    from runtimes.litert.session import LiteRtSession

    return LiteRtSession.open(asked.path, threads=asked.threads)


def open_image_encoder(asked: ImageOpening) -> ImageEncoder:
    """The tower of a `.litertlm`, as `LiteRtImageEncoder.open` does."""
    from runtimes.litert.image_encoder import LiteRtImageEncoder

    return LiteRtImageEncoder.open(asked.release / asked.encoder.path, threads=asked.threads)


def open_image_session(asked: ImageOpening) -> ImageSession:
    """The decoder of a `.litertlm`, as `LiteRtImageSession.of_release` does."""
    from runtimes.litert.image_session import LiteRtImageSession

    return LiteRtImageSession.of_release(asked)
