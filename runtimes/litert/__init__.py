"""The LiteRT driver: `.tflite` and `.litertlm` files through ai_edge_litert's CompiledModel.

Not about LiteRT-LM's engine, which has a tokenizer, templates and sampling of its own.
"""

from __future__ import annotations

from runtimes.opening import Opening
from runtimes.session import Session


def open_artifact(asked: Opening) -> Session:
    """A `.tflite` or `.litertlm`, as `LiteRtSession.open` does."""
    from runtimes.litert.session import LiteRtSession

    return LiteRtSession.open(asked.path, threads=asked.threads)
