"""A small .tflite that runs the model inside a bundle without copying its weights.

LiteRT opens files, not sections of files. Its schema lets a tensor name bytes of another file
(external buffers), so the section's flatbuffer is written out alone, its weights pointing into the
bundle. Not about finding the section (`container`).
"""

from __future__ import annotations

import mmap
import struct
from pathlib import Path
from typing import Any

from runtimes.errors import ArtifactError
from runtimes.litert.container import Section

IDENTIFIER = b"TFL3"
# The runtime tells external ids from buffer indices by the high bit.
EXTERNAL_ID = 0x80000000


def write_head(bundle: Path, section: Section, out: Path) -> None:
    """Write the section's flatbuffer to `out`, weights left where they are in `bundle`.

    Raises ArtifactError where the section is not a LiteRT model.
    """
    import flatbuffers
    from ai_edge_litert import schema_py_generated as schema

    length = section.end - section.begin
    with bundle.open("rb") as file:
        # Not closed here: the parsed model's vectors are views of it.
        data = mmap.mmap(file.fileno(), length, offset=section.begin, access=mmap.ACCESS_READ)
    if data[4:8] != IDENTIFIER:
        raise ArtifactError(f"{bundle}: its text model is not a LiteRT flatbuffer; export it again")
    try:
        model: Any = schema.ModelT.InitFromObj(schema.Model.GetRootAs(data, 0))
    except (struct.error, IndexError, TypeError, ValueError) as error:
        raise ArtifactError(f"{bundle}: its flatbuffer points outside itself; export it again") from error
    group = schema.ExternalBufferGroupT()
    group.name = str(bundle.resolve())
    model.externalBufferGroups, model.externalBuffers = [group], []
    ids: dict[int, int] = {}
    for subgraph in model.subgraphs:
        for tensor in subgraph.tensors:
            buffer = model.buffers[tensor.buffer]
            # 0 is an empty buffer and 1 a placeholder of some writers: neither is a place.
            if buffer.offset <= 1:
                continue
            if tensor.buffer not in ids:
                external = schema.ExternalBufferT()
                external.id = ids[tensor.buffer] = EXTERNAL_ID | len(ids)
                external.offset, external.length = section.begin + buffer.offset, buffer.size
                external.packing = ""
                model.externalBuffers.append(external)
            tensor.externalBuffer = ids[tensor.buffer]
            tensor.buffer = 0
    for buffer in model.buffers:
        buffer.offset = buffer.size = 0
    builder = flatbuffers.Builder(1 << 20)
    builder.Finish(model.Pack(builder), IDENTIFIER)
    out.write_bytes(builder.Output())
