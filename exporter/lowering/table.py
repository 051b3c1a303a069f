"""Which lowering writes which family's formats: one explicit table.

Not about any runtime. A lowering is imported when it is made, not before: each brings a large package
with it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping

from exporter.formats.table import families_of
from exporter.lowering import coreml, litert, onnx
from exporter.lowering.interface import Lowering
from runtimes.formats import Format

LOWERINGS: dict[str, Callable[[frozenset[Format]], Lowering]] = {
    "litert": litert.make_lowering,
    "onnx": onnx.make_lowering,
    "coreml": coreml.make_lowering,
}


def lowerings_for(formats: Iterable[Format]) -> Mapping[str, Lowering]:
    """Runtime family by name to its lowering, for the families these formats need, in their order.
    Formats of one family share a graph, and so a lowering."""
    wanted = tuple(formats)
    return {
        family.name: LOWERINGS[family.name](frozenset(wanted).intersection(family.formats))
        for family in families_of(wanted)
    }
