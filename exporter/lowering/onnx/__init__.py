"""ONNX: a graph for processors or for browsers, its weights in an external data file."""

from __future__ import annotations

from exporter.lowering.interface import Lowering
from runtimes.formats import Format


def make_lowering(formats: frozenset[Format]) -> Lowering:
    """Writes these of ONNX's formats."""
    from exporter.lowering.onnx.lowering import OnnxLowering

    return OnnxLowering(formats)
