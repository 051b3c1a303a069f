"""`GgufFile`: one GGUF file, its header checked, its data read with `pread`.

Why not `gguf.GGUFReader`: it trusts every count and length in the header and maps the file, so a
hostile file costs memory before it is refused and an honest one leaves its pages in ours. Here each
number is compared with the bytes that are left before anything is allocated. What the tensors
hold is not this module's business (`source`).
Format: ggml's docs/gguf.md, versions 2 and 3, little-endian.
"""

from __future__ import annotations

import math
import os
import struct
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
from gguf.constants import GGML_QUANT_SIZES, GGMLQuantizationType
from numpy.typing import NDArray

from exporter.checkpoints.files.byte_ranges import read_range
from exporter.checkpoints.files.pointers import refuse_pointer
from exporter.errors import CheckpointError
from runtimes.excerpt import excerpt

MAGIC = b"GGUF"
VERSIONS = (2, 3)
DEFAULT_ALIGNMENT = 32
LARGEST_ALIGNMENT = 1 << 20
LARGEST_STRING = 1 << 20  # a chat template is some 20 KB
LARGEST_ARRAY = 1 << 20  # a Gemma vocabulary has 262 208 entries at most, and 514 906 merges
MOST_DIMENSIONS = 4
LONGEST_NAME = 200  # bytes; ggml itself keeps 63 of a tensor's

STRING, ARRAY = 8, 9
SCALARS: dict[int, np.dtype[Any]] = {
    0: np.dtype("u1"), 1: np.dtype("i1"), 2: np.dtype("<u2"), 3: np.dtype("<i2"), 4: np.dtype("<u4"),
    5: np.dtype("<i4"), 6: np.dtype("<f4"), 7: np.dtype("?"), 10: np.dtype("<u8"), 11: np.dtype("<i8"),
    12: np.dtype("<f8"),
}  # fmt: skip

MetadataValue = bool | int | float | str | tuple[str, ...] | NDArray[Any]


@dataclass(frozen=True)
class GgufTensor:
    """What the header says of a tensor. shape: slowest side first, as numpy has it.

    begin: byte in the file where its data starts.
    """

    name: str
    kind: GGMLQuantizationType
    shape: tuple[int, ...]
    begin: int

    @property
    def row_bytes(self) -> int:
        """Bytes of one row: quantisation blocks run along the last side and never leave a row."""
        block, size = GGML_QUANT_SIZES[self.kind]
        return int(self.shape[-1] // block * size)

    @property
    def nbytes(self) -> int:
        return math.prod(self.shape[:-1]) * self.row_bytes


@dataclass(frozen=True)
class GgufFile:
    """A checked header over a file that is opened anew for each read."""

    path: Path
    metadata: Mapping[str, MetadataValue]
    tensors: Mapping[str, GgufTensor]

    @staticmethod
    def open(path: Path) -> GgufFile:
        """Read and check the header: (1) magic and counts, (2) metadata, (3) tensors, (4) extents.

        Raises CheckpointError with the offset of what is wrong.
        """
        try:
            if path.exists() and not path.is_file():  # a pipe would wait for a writer
                raise CheckpointError(path, "is not a file", "check the path, or fetch the file again")
            refuse_pointer(path)
            with path.open("rb") as file:
                return _read(_Header(path, file, os.fstat(file.fileno()).st_size))
        except OSError as error:
            raise CheckpointError(
                path, f"cannot be read ({error.strerror})", "check the path, or fetch the file again"
            ) from error

    @property
    def paths(self) -> tuple[Path, ...]:
        """Every file it lies in."""
        return (self.path,)

    def word(self, key: str) -> str | None:
        """A text of the metadata, None where there is none. Raises CheckpointError for another type."""
        found = self.metadata.get(key)
        if found is None or isinstance(found, str):
            return found
        raise CheckpointError(
            f"{self.path}: {key}", f"expected a text, got {excerpt(found)}", "convert the model again"
        )

    def read_rows(self, name: str, start: int, stop: int) -> NDArray[np.uint8]:
        """The stored bytes of rows start to stop, [rows, row_bytes]."""
        tensor = self.tensors[name]
        row = tensor.row_bytes
        raw = read_range(self.path, name, tensor.begin + start * row, (stop - start) * row)
        return np.frombuffer(raw, np.uint8).reshape(stop - start, row)


@dataclass
class _Header:
    """A reader that checks each length against the bytes that are left, then reads."""

    path: Path
    file: BinaryIO
    size: int
    at: int = 0

    def take(self, count: int, what: str) -> bytes:
        if count > self.size - self.at:
            raise self.broken(f"{what} takes {count} bytes, {self.size - self.at} are left")
        self.at += count
        return self.file.read(count)

    def u32(self, what: str) -> int:
        return int.from_bytes(self.take(4, what), "little")

    def u64(self, what: str) -> int:
        return int.from_bytes(self.take(8, what), "little")

    def count(self, what: str, each: int, most: int) -> int:
        """A number of things of at least `each` bytes. Refused before anything is allocated."""
        at, found = self.at, self.u64(what)
        if found > min(most, (self.size - self.at) // each):
            raise self.broken(f"{what} is {found}, more than fits", at)
        return found

    def name(self, what: str) -> str:
        """A string short enough for errors to repeat."""
        at = self.at
        found = self.string(what, LONGEST_NAME)
        if not found or not found.isprintable():
            raise self.broken(f"{what} is {excerpt(found)}", at)
        return found

    def string(self, what: str, longest: int = LARGEST_STRING) -> str:
        at = self.at
        length = self.count(f"the length of {what}", 1, longest)
        try:
            return self.take(length, what).decode("utf-8")
        except UnicodeDecodeError as error:
            raise self.broken(f"{what} is not UTF-8", at) from error

    def scalars(self, kind: int, count: int, what: str) -> NDArray[Any]:
        if kind not in SCALARS:
            raise self.broken(f"{what} has unknown value type {kind}")
        return np.frombuffer(self.take(count * SCALARS[kind].itemsize, what), SCALARS[kind])

    def value(self, what: str) -> MetadataValue:
        kind = self.u32(f"the type of {what}")
        if kind == STRING:
            return self.string(what)
        if kind != ARRAY:
            scalar: bool | int | float = self.scalars(kind, 1, what)[0].item()
            return scalar
        kind = self.u32(f"the element type of {what}")
        if kind == STRING:
            count = self.count(f"the length of {what}", 8, LARGEST_ARRAY)
            return tuple(self.string(what) for _ in range(count))
        return self.scalars(kind, self.count(f"the length of {what}", 1, LARGEST_ARRAY), what)

    def broken(self, what: str, at: int | None = None) -> CheckpointError:
        return CheckpointError(
            f"{self.path} at byte {self.at if at is None else at}",
            what,
            "the file is truncated or damaged, fetch it again",
        )


def _read(header: _Header) -> GgufFile:
    # (1)
    if header.take(4, "the magic") != MAGIC:
        raise CheckpointError(
            header.path, "does not start with 'GGUF'", "give a GGUF file or a Hugging Face directory"
        )
    version = struct.unpack("<I", header.take(4, "the version"))[0]
    if version not in VERSIONS:
        raise CheckpointError(
            header.path,
            f"is GGUF version {version}" if version < 1 << 16 else "is a big-endian GGUF",
            "convert it with a current llama.cpp: versions 2 and 3, little-endian, are read",
        )
    tensor_count = header.count("the number of tensors", 24, LARGEST_ARRAY)
    key_count = header.count("the number of metadata keys", 13, LARGEST_ARRAY)
    # (2)
    metadata: dict[str, MetadataValue] = {}
    for _ in range(key_count):
        key = header.name("a metadata key")
        if key in metadata:
            raise header.broken(f"metadata key {key!r} is there twice")
        metadata[key] = header.value(f"metadata key {key!r}")
    # (3)
    listed = [_tensor(header) for _ in range(tensor_count)]
    # (4)
    alignment = metadata.get("general.alignment", DEFAULT_ALIGNMENT)
    if type(alignment) is not int or not 0 < alignment <= LARGEST_ALIGNMENT or alignment % 8:
        raise header.broken(f"general.alignment is {excerpt(alignment)}")
    data = -(-header.at // alignment) * alignment
    tensors: dict[str, GgufTensor] = {}
    for name, kind, shape, offset in listed:
        tensor = GgufTensor(name, kind, shape, data + offset)
        if name in tensors:
            raise header.broken(f"tensor {name} is there twice")
        if offset % alignment or tensor.begin + tensor.nbytes > header.size:
            raise CheckpointError(
                f"{header.path} at byte {tensor.begin}",
                f"tensor {name} of {tensor.nbytes} bytes is misaligned or leaves the file",
                "the file is truncated or damaged, fetch it again",
            )
        tensors[name] = tensor
    _require_apart(header, tensors.values())
    return GgufFile(header.path, metadata, tensors)


def _require_apart(header: _Header, tensors: Iterable[GgufTensor]) -> None:
    end = 0
    for tensor in sorted(tensors, key=lambda each: each.begin):
        if tensor.begin < end:
            raise header.broken(f"tensor {tensor.name} overlaps the one before it", tensor.begin)
        end = tensor.begin + tensor.nbytes


def _tensor(header: _Header) -> tuple[str, GGMLQuantizationType, tuple[int, ...], int]:
    name = header.name("a tensor's name")
    at = header.at
    dimensions = header.u32(f"the rank of tensor {name}")
    if not 1 <= dimensions <= MOST_DIMENSIONS:
        raise header.broken(f"tensor {name} has {dimensions} dimensions", at)
    sides = [header.u64(f"the shape of tensor {name}") for _ in range(dimensions)]
    number = header.u32(f"the type of tensor {name}")
    try:
        kind = GGMLQuantizationType(number)
        block, _ = GGML_QUANT_SIZES[kind]
    except (ValueError, KeyError) as error:
        raise header.broken(f"tensor {name} has unknown type {number}", at) from error
    if math.prod(sides) == 0 or sides[0] % block:
        raise header.broken(f"tensor {name} of shape {sides[::-1]} is not made of {kind.name} blocks", at)
    return name, kind, tuple(sides[::-1]), header.u64(f"the offset of tensor {name}")
