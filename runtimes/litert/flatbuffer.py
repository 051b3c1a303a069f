"""Parsing a LiteRT flatbuffer that may be damaged: with the schema's own code, behind checks it lacks.

The generated code follows every offset and every length. Offsets outside the bytes end in errors of a dozen
kinds; lengths that name the same bytes again and again end after hours. Here the first are one error, and
vectors together may not have more elements than the bytes can hold. Not about what the model means.
"""

from __future__ import annotations

import struct
from collections.abc import Callable
from typing import Any, TypeVar

T = TypeVar("T")

IDENTIFIER = b"TFL3"
SMALLEST_ELEMENT = 4  # bytes: an offset, or an index

# What the generated code and numpy raise for an offset or a length that is not one.
DAMAGE = (
    struct.error,
    ArithmeticError,
    AssertionError,
    AttributeError,
    LookupError,
    MemoryError,
    RuntimeError,
    TypeError,
    ValueError,
)


class FlatbufferError(ValueError):
    """Bytes that are not a model. The caller says of which file."""


def parse_model(data: Any) -> Any:
    """The schema's ModelT over the bytes, whose vectors may be views of them. Raises FlatbufferError."""
    from ai_edge_litert import schema_py_generated as schema

    return within(data, lambda model: schema.ModelT.InitFromObj(model))


def within(data: Any, read: Callable[[Any], T]) -> T:
    """What `read` makes of the schema's Model over the bytes. Raises FlatbufferError."""
    from ai_edge_litert import schema_py_generated as schema

    if bytes(data[4:8]) != IDENTIFIER:
        raise FlatbufferError("is not a LiteRT flatbuffer")
    try:
        model: Any = schema.Model.GetRootAs(data, 0)
        _require_plausible(model, len(data))
        return read(model)
    except FlatbufferError:
        raise
    except DAMAGE as error:
        raise FlatbufferError("has a flatbuffer that points outside itself") from error


def _require_plausible(model: Any, size: int) -> None:
    left = size // SMALLEST_ELEMENT

    def take(*counts: int) -> None:
        nonlocal left
        left -= sum(counts)
        if left < 0:
            raise FlatbufferError("has a flatbuffer whose vectors do not fit in its bytes")

    take(
        model.SubgraphsLength(),
        model.OperatorCodesLength(),
        model.BuffersLength(),
        model.MetadataLength(),
        model.SignatureDefsLength(),
        model.ExternalBuffersLength(),
        model.ExternalBufferGroupsLength(),
    )
    for i in range(model.SignatureDefsLength()):
        signature = model.SignatureDefs(i)
        take(signature.InputsLength(), signature.OutputsLength())
    for i in range(model.SubgraphsLength()):
        subgraph = model.Subgraphs(i)
        take(subgraph.TensorsLength(), subgraph.OperatorsLength())
        take(subgraph.InputsLength(), subgraph.OutputsLength())
