"""Drivers of ONNX artifacts: ONNX Runtime on the CPU."""

from __future__ import annotations

from runtimes.images.prepared import ImageEncoder
from runtimes.images.session import ImageSession
from runtimes.opening import ImageOpening, Opening
from runtimes.session import Session


def open_artifact(asked: Opening) -> Session:
    """An ONNX graph, as `OnnxSession` does."""
    from runtimes.onnx.session import OnnxSession

    return OnnxSession(asked.path, threads=asked.threads)


def open_image_encoder(asked: ImageOpening) -> ImageEncoder:
    """A tower, as `OnnxImageEncoder` does."""
    from runtimes.onnx.image_encoder import OnnxImageEncoder

    return OnnxImageEncoder(asked)


def open_image_session(asked: ImageOpening) -> ImageSession:
    """A decoder that takes a tower's rows, as `OnnxImageSession` does."""
    from runtimes.onnx.image_session import OnnxImageSession

    return OnnxImageSession(asked)
