"""ONNX: contrib operators for attention and integer matmuls, weights in one external data file."""

from __future__ import annotations

from exporter.lowering.interface import Lowering
from runtimes.formats import Format


def make_lowering(formats: frozenset[Format]) -> Lowering:
    """Writes the one format there is."""
    from exporter.lowering.onnx.lowering import OnnxLowering

    return OnnxLowering()
