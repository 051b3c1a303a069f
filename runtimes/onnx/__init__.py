"""Driver of ONNX artifacts: ONNX Runtime on the CPU."""

from __future__ import annotations

from runtimes.opening import Opening
from runtimes.session import Session


def open_artifact(asked: Opening) -> Session:
    """An ONNX graph, as `OnnxSession` does."""
    from runtimes.onnx.session import OnnxSession

    return OnnxSession(asked.path, threads=asked.threads)
