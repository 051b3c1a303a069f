"""Headers and flatbuffers of a few KB whose entries share their bytes: refused before anyone counts."""

from __future__ import annotations

import struct
import time
from pathlib import Path

import flatbuffers
import pytest

from runtimes.errors import ArtifactError
from runtimes.litert.container import HEADER_START, MAGIC, read_sections
from runtimes.litert.flatbuffer import IDENTIFIER, FlatbufferError, parse_model

MANY = 1500


def shared(builder: flatbuffers.Builder, target: int, count: int) -> int:
    """A vector of `count` offsets to one table."""
    builder.StartVector(4, count, 4)
    for _ in range(count):
        builder.PrependUOffsetTRelative(target)
    found: int = builder.EndVector()
    return found


def table(builder: flatbuffers.Builder, fields: dict[int, int]) -> int:
    """A table of offsets by field number."""
    builder.StartObject(max(fields, default=0) + 1)
    for number, target in fields.items():
        builder.PrependUOffsetTRelativeSlot(number, target, 0)
    found: int = builder.EndObject()
    return found


def test_a_header_whose_sections_share_their_pairs_is_refused_at_once(tmp_path: Path) -> None:
    builder = flatbuffers.Builder(1024)
    pairs = shared(builder, table(builder, {0: builder.CreateString("key")}), MANY)
    sections = shared(builder, table(builder, {0: pairs}), MANY)
    builder.Finish(table(builder, {1: table(builder, {0: sections})}))
    header = bytes(builder.Output())
    assert len(header) < 13_000
    path = tmp_path / "m.litertlm"
    end = struct.pack("<Q", HEADER_START + len(header))
    path.write_bytes(MAGIC + bytes(16) + end + header)
    began = time.monotonic()
    with pytest.raises(ArtifactError, match="its header points outside itself, or repeats itself"):
        read_sections(path)
    assert time.monotonic() - began < 0.2


def test_a_model_whose_subgraphs_share_their_tensors_is_refused_at_once() -> None:
    builder = flatbuffers.Builder(1024)
    tensors = shared(builder, table(builder, {3: builder.CreateString("name")}), MANY)
    subgraphs = shared(builder, table(builder, {0: tensors}), MANY)
    builder.Finish(table(builder, {2: subgraphs}), IDENTIFIER)
    began = time.monotonic()
    with pytest.raises(FlatbufferError, match="vectors do not fit in its bytes"):
        parse_model(bytes(builder.Output()))
    assert time.monotonic() - began < 1.0
