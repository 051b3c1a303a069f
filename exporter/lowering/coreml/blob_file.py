"""`weight.bin`: payloads laid out first, then written from front to back.

Layout (MILBlob/Blob/StorageFormat.hpp of Apple's coremltools, version 2), little-endian: a 64-byte
header that begins with the payload count and the version; for each payload a 64-byte record
(sentinel, element type, bytes, offset of the data, padding bits) on a 64-byte boundary, its data on
the next one. Not about what the payloads mean (`binding`) or reading them (`read_back`).
"""

from __future__ import annotations

import os
import struct
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from enum import Enum
from pathlib import Path

from exporter.errors import LoweringError

VERSION = 2
ALIGNMENT = 64
SENTINEL = 0xDEADBEEF
HEADER = struct.Struct("<II56x")
RECORD = struct.Struct("<IIQQQ32x")


class Element(Enum):
    """Element types: MIL's DataType (MIL.proto) and the code of the same type in a blob record."""

    FLOAT16 = (10, 1)
    FLOAT32 = (11, 2)
    INT4 = (25, 8)
    INT8 = (21, 4)
    INT16 = (22, 6)
    INT32 = (23, 14)
    UINT8 = (31, 3)
    UINT16 = (32, 7)

    def __init__(self, mil: int, blob: int) -> None:
        self.mil = mil
        self.blob = blob


@dataclass(frozen=True)
class Blob:
    """One payload. `pieces` yields its `nbytes` bytes in order, whenever it is called. padding_bits: of the
    last byte, above elements narrower than a byte."""

    name: str
    element: Element
    nbytes: int
    pieces: Callable[[], Iterator[bytes | memoryview]]
    padding_bits: int = 0


@dataclass
class BlobWriter:
    """A weight file in the making: `add` lays payloads out, `write` fills the file."""

    def __post_init__(self) -> None:
        self._blobs: list[tuple[int, Blob]] = []
        self._end = HEADER.size

    @property
    def nbytes(self) -> int:
        """Size of the file so far."""
        return self._end

    def add(self, blob: Blob) -> int:
        """Lay a payload out behind the last; returns the offset of its record, which names it."""
        record = _aligned(self._end)
        self._blobs.append((record, blob))
        self._end = record + RECORD.size + blob.nbytes
        return record

    def write(self, path: Path, written: Callable[[int], None]) -> None:
        """Write and sync the file; `written` is told the bytes done now and then.

        Peak memory is one piece. Raises LoweringError when a payload yields another length than it
        announced.
        """
        with path.open("wb") as file:
            file.write(HEADER.pack(len(self._blobs), VERSION))
            for record, blob in self._blobs:
                file.write(bytes(record - file.tell()))
                start = record + RECORD.size
                element, padding = blob.element.blob, blob.padding_bits
                file.write(RECORD.pack(SENTINEL, element, blob.nbytes, start, padding))
                for piece in blob.pieces():
                    file.write(piece)
                    written(file.tell())
                if file.tell() != start + blob.nbytes:
                    raise LoweringError(
                        path,
                        f"{blob.name} has {file.tell() - start} bytes where {blob.nbytes} were laid out",
                        "this is a bug in gemma-export; report it",
                    )
            file.flush()
            os.fsync(file.fileno())


def file_pieces(path: Path, offset: int, nbytes: int) -> Iterator[bytes]:
    """Bytes of another file, a MiB at a time."""
    with path.open("rb") as file:
        file.seek(offset)
        while nbytes > 0 and (piece := file.read(min(nbytes, 1 << 20))):
            nbytes -= len(piece)
            yield piece


def one_piece(data: bytes) -> Callable[[], Iterator[bytes]]:
    """`pieces` of a payload that is in memory anyway."""
    pieces: Sequence[bytes] = (data,)
    return lambda: iter(pieces)


def _aligned(offset: int) -> int:
    return -(-offset // ALIGNMENT) * ALIGNMENT
