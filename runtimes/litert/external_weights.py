"""Models whose weights lie in another file, or elsewhere in theirs: LiteRT's external buffers.

A tensor may name bytes of a file outside the flatbuffer. LiteRT-LM takes them from the weights section
of a bundle; LiteRT, which opens files and not sections of files, from a path. So a bundle is run without
copying its weights: each model's flatbuffer is written out alone and points into the bundle. Not about
finding sections (`container`).
"""

from __future__ import annotations

import mmap
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from runtimes.errors import ArtifactError
from runtimes.litert.container import ModelSections
from runtimes.litert.flatbuffer import DAMAGE, IDENTIFIER, FlatbufferError, parse_model

# The runtime tells external ids from buffer indices by the high bit.
EXTERNAL_ID = 0x80000000


def refer_outside(model: Any, group: str, places: Mapping[int, tuple[int, int]]) -> None:
    """Let tensors of these buffers name (offset, length) of the file `group` instead.

    model: a schema ModelT without external buffers of other files.
    """
    from ai_edge_litert import schema_py_generated as schema

    entry = schema.ExternalBufferGroupT()
    entry.name = group
    model.externalBufferGroups, model.externalBuffers = [entry], list(model.externalBuffers or ())
    ids: dict[int, int] = {}
    for subgraph in model.subgraphs:
        for tensor in subgraph.tensors:
            if tensor.buffer not in places:
                continue
            if tensor.buffer not in ids:
                external = schema.ExternalBufferT()
                external.id = ids[tensor.buffer] = EXTERNAL_ID | len(model.externalBuffers)
                external.offset, external.length = places[tensor.buffer]
                external.packing = ""
                model.externalBuffers.append(external)
            tensor.externalBuffer = ids[tensor.buffer]
            tensor.buffer = 0
    for index in places:
        model.buffers[index].offset = model.buffers[index].size = 0


def write_head(bundle: Path, sections: ModelSections, out: Path) -> None:
    """Write a model's flatbuffer to `out`, weights left where they are in `bundle`.

    Raises ArtifactError where the section is not a LiteRT model, or names bytes it does not have.
    """
    import flatbuffers

    section = sections.model
    length = section.end - section.begin
    if not length:
        raise ArtifactError(f"{bundle}: its {section.model_type} is empty; export it again")
    with bundle.open("rb") as file:
        # Not closed here: the parsed model's vectors are views of it.
        data = mmap.mmap(file.fileno(), length, offset=section.begin, access=mmap.ACCESS_READ)
    try:
        model = parse_model(data)
        for external in model.externalBuffers or ():
            external.group, external.offset = 0, place_outside(bundle, sections, external)
        places = {
            index: (section.begin + buffer.offset, buffer.size)
            for index, buffer in enumerate(model.buffers)
            # 0 is an empty buffer and 1 a placeholder of some writers: neither is a place.
            if buffer.offset > 1
        }
        if any(begin + size > section.end for begin, size in places.values()):
            raise FlatbufferError("names weights past its end")
        refer_outside(model, str(bundle.resolve()), places)
        builder = flatbuffers.Builder(1 << 20)
        builder.Finish(model.Pack(builder), IDENTIFIER)
    except FlatbufferError as error:
        raise ArtifactError(f"{bundle}: its {section.model_type} {error}; export it again") from error
    except DAMAGE as error:  # what was parsed, but cannot be written as a model again
        raise ArtifactError(
            f"{bundle}: its {section.model_type} contradicts itself; export it again"
        ) from error
    out.write_bytes(builder.Output())


def place_outside(bundle: Path, sections: ModelSections, external: Any) -> int:
    """Where in the bundle an external buffer's bytes begin. Raises ArtifactError where it has none."""
    weights = sections.weights
    if weights is None or weights.begin + external.offset + external.length > weights.end:
        raise ArtifactError(
            f"{bundle}: its {sections.model.model_type} names weights outside its section; export it again"
        )
    begin: int = weights.begin + external.offset
    return begin
