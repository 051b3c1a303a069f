"""Which lowering writes which format: one explicit table.

Not about any runtime. Lowerings are imported when asked for: each brings a large package with it.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from exporter.lowering.interface import Lowering
from exporter.planning.plan import FORMAT_FAMILY
from runtimes.manifest import Format


def lowerings_for(formats: Iterable[Format]) -> Mapping[str, Lowering]:
    """Runtime family ("litert", "onnx", "coreml") to its lowering, for the families these formats
    need, in their order. Formats of one family share a graph, and so a lowering."""
    wanted = tuple(formats)
    families = dict.fromkeys(FORMAT_FAMILY[format] for format in wanted)
    return {family: _lowering(family, wanted) for family in families}


def _lowering(family: str, formats: tuple[Format, ...]) -> Lowering:
    if family == "litert":
        from exporter.lowering.litert.lowering import LiteRtLowering

        return LiteRtLowering(frozenset(format for format in formats if FORMAT_FAMILY[format] == family))
    if family == "onnx":
        from exporter.lowering.onnx.lowering import OnnxLowering

        return OnnxLowering()
    from exporter.lowering.coreml.lowering import CoreMlLowering

    return CoreMlLowering()
