"""Writing a `.litertlm` container: header, then sections, each produced straight into the file.

litert-lm-builder supplies the header's schema and constants, but not the writing: its builder stamps
a random uuid and the time into the header, and wants each section as a file that it then copies. Not
about what the sections hold (`bundle`). Layout: `runtimes.litert.container`.
"""

from __future__ import annotations

import uuid
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

import flatbuffers
from litert_lm_builder import DType, Metadata, litertlm_core
from litert_lm_builder import litertlm_header_schema_py_generated as header_schema

from runtimes.litert.container import SECTION_ALIGNMENT

CREATED = "1970-01-01T00:00:00+00:00"  # equal inputs give equal bytes


@dataclass(frozen=True)
class SectionSource:
    """A section to be written. kind: AnySectionDataType. write: puts its bytes at the file's position."""

    kind: int
    items: tuple[tuple[str, str], ...]
    write: Callable[[BinaryIO], None]


@dataclass(frozen=True)
class SharedSection:
    """Another name for bytes of a section before it.

    of: that section. place: begin and end within it, asked for once it is written.
    """

    kind: int
    items: tuple[tuple[str, str], ...]
    of: SectionSource
    place: Callable[[], tuple[int, int]]


def write_container(
    path: Path, sections: Sequence[SectionSource | SharedSection], identity: uuid.UUID
) -> None:
    """Write the container; a section's own error leaves a partial file behind."""
    header = _header(sections, identity)
    # Offsets are scalars: the header's size is known before they are.
    end = litertlm_core.HEADER_BEGIN_BYTE_OFFSET + len(_pack(header))
    with path.open("w+b") as file:
        position, placed = end, header.sectionMetadata.objects
        for source, section in zip(sections, placed, strict=True):
            if isinstance(source, SharedSection):
                within = placed[sections.index(source.of)].beginOffset
                section.beginOffset, section.endOffset = (within + at for at in source.place())
                continue
            section.beginOffset = -(-position // SECTION_ALIGNMENT) * SECTION_ALIGNMENT
            file.seek(section.beginOffset)
            source.write(file)
            position = section.endOffset = file.seek(0, 2)
        file.seek(0)
        file.write(litertlm_core.HEADER_MAGIC_BYTES)
        for version in (
            litertlm_core.LITERTLM_MAJOR_VERSION,
            litertlm_core.LITERTLM_MINOR_VERSION,
            litertlm_core.LITERTLM_PATCH_VERSION,
        ):
            file.write(version.to_bytes(4, "little"))
        file.seek(litertlm_core.HEADER_END_LOCATION_BYTE_OFFSET)
        file.write(end.to_bytes(8, "little"))
        file.seek(litertlm_core.HEADER_BEGIN_BYTE_OFFSET)
        file.write(_pack(header))


def _header(sections: Sequence[SectionSource | SharedSection], identity: uuid.UUID) -> Any:
    header = header_schema.LiteRTLMMetaDataT()
    header.systemMetadata = header_schema.SystemMetadataT()
    header.systemMetadata.entries = [
        _pair("uuid", str(identity)),
        _pair("creation_timestamp", CREATED),
    ]
    header.sectionMetadata = header_schema.SectionMetadataT()
    header.sectionMetadata.objects = []
    for source in sections:
        section = header_schema.SectionObjectT()
        section.items = [_pair(key, value) for key, value in source.items]
        section.dataType = source.kind
        section.beginOffset = section.endOffset = 1  # a 0 would not be stored
        header.sectionMetadata.objects.append(section)
    return header


def _pair(key: str, value: str) -> Any:
    return Metadata(key=key, value=value, dtype=DType.STRING).to_key_value_pair()


def _pack(header: Any) -> bytes:
    builder = flatbuffers.Builder(litertlm_core.BLOCK_SIZE)
    builder.Finish(header.Pack(builder))
    return bytes(builder.Output())
