"""A `weight.bin`: payloads of constants, mapped and checked, never copied.

Not about what a payload means. Layout, version 2 (mlmodel/src/MILBlob/Blob/StorageFormat.hpp of
Apple's coremltools), little-endian: a 64-byte file header that begins with the payload count and
the version; then per payload a 64-byte metadata record (sentinel, element type, bytes, offset of
the data, padding bits) on a 64-byte boundary, and its data on the next one.
"""

from __future__ import annotations

import mmap
import struct
from pathlib import Path

from runtimes.errors import ArtifactError
from runtimes.excerpt import excerpt
from runtimes.inside import is_inside, is_plain_path
from runtimes.mil.messages import BlobReference
from runtimes.mil.tensor_types import DataType

VERSION = 2
ALIGNMENT = 64
SENTINEL = 0xDEADBEEF
HEADER = struct.Struct("<II")
METADATA = struct.Struct("<IIQQQ")
MODEL_PATH = "@model_path/"

# BlobDataType (MILBlob/Blob/BlobDataType.hpp), for the types of `DataType`.
ELEMENT_TYPES: dict[int, DataType] = {
    1: DataType.FLOAT16,
    2: DataType.FLOAT32,
    3: DataType.UINT8,
    4: DataType.INT8,
    6: DataType.INT16,
    7: DataType.UINT16,
    8: DataType.INT4,
    11: DataType.UINT4,
    14: DataType.INT32,
}


class BlobFile:
    """One mapped weight file."""

    def __init__(self, path: Path) -> None:
        self._path = path
        try:
            with path.open("rb") as file:
                self._map = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
        except (OSError, ValueError) as error:
            raise ArtifactError(
                f"{path}: the weight file cannot be mapped ({error}); export again"
            ) from error
        self._data = memoryview(self._map)
        if len(self._data) < ALIGNMENT:
            raise self._error("ends inside its header")
        self._count, version = HEADER.unpack_from(self._data)
        if version != VERSION:
            raise self._error(f"has blob version {version}, this reader knows {VERSION}")

    def payload(self, offset: int, declared: DataType) -> memoryview:
        """The bytes of the payload whose metadata is at `offset`.

        Raises ArtifactError where the record is not one, names another element type than the
        program declares, or reaches past the file.
        """
        if offset % ALIGNMENT or not ALIGNMENT <= offset <= len(self._data) - ALIGNMENT:
            raise self._error(f"has no metadata record at {offset}")
        sentinel, code, size, start, padding_bits = METADATA.unpack_from(self._data, offset)
        if sentinel != SENTINEL:
            raise self._error(f"has no metadata record at {offset} (sentinel {sentinel:#x})")
        if ELEMENT_TYPES.get(code) is not declared:
            raise self._error(
                f"holds blob type {code} at {offset} where the program declares {declared.name}"
            )
        if start % ALIGNMENT or start < offset + ALIGNMENT or size > len(self._data) - start:
            raise self._error(f"holds {len(self._data)} bytes; the payload at {start} wants {size}")
        if padding_bits > 7:
            raise self._error(f"claims {padding_bits} padding bits at {offset}")
        return self._data[start : start + size]

    def close(self) -> None:
        """Drop the mapping; pages still viewed elsewhere live until their last view goes."""
        try:
            self._data.release()
            self._map.close()
        except BufferError:
            return

    def _error(self, what: str) -> ArtifactError:
        return ArtifactError(f"{self._path}: the weight file {what}; export again")


class BlobFiles:
    """The weight files a program refers to, each mapped when first asked for."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self._files: dict[str, BlobFile] = {}

    def payload(self, reference: BlobReference, declared: DataType) -> memoryview:
        """Bytes of a payload. Raises ArtifactError as `BlobFile.payload` does."""
        file = self._files.get(reference.file)
        if file is None:
            place = reference.file.removeprefix(MODEL_PATH)
            path = self._directory / place
            if place == reference.file or not is_plain_path(place) or not is_inside(self._directory, path):
                raise ArtifactError(
                    f"{self._directory}: the program refers to {excerpt(reference.file)}, which is not "
                    "inside the package; do not trust this release"
                )
            file = self._files[reference.file] = BlobFile(path)
        return file.payload(reference.offset, declared)

    def close(self) -> None:
        for file in self._files.values():
            file.close()
        self._files.clear()
