"""LiteRT: .tflite and .litertlm, written straight in the flatbuffer's own operations.

Not about running them (`runtimes.litert`).
"""

from __future__ import annotations

from exporter.lowering.interface import Lowering
from runtimes.formats import Format


def make_lowering(formats: frozenset[Format]) -> Lowering:
    """Writes these of LiteRT's formats."""
    from exporter.lowering.litert.lowering import LiteRtLowering

    return LiteRtLowering(formats)
