"""`SafetensorsFile`: one safetensors file, its header checked, its data read with `pread`.

Why not the safetensors package: it maps the file (`byte_ranges` says what that costs). The header
is read and checked here, byte ranges are read on demand. What the tensors mean is the readers' business.
Format: little-endian u64 header length, JSON header, data (safetensors 0.8, "Format").
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from exporter.checkpoints.files.byte_ranges import read_range
from exporter.errors import CheckpointError

ITEM_BYTES = {
    "BOOL": 1, "U8": 1, "I8": 1, "F8_E4M3": 1, "F8_E5M2": 1, "I16": 2, "U16": 2, "F16": 2, "BF16": 2,
    "I32": 4, "U32": 4, "F32": 4, "I64": 8, "U64": 8, "F64": 8,
}  # fmt: skip
LARGEST_HEADER = 100_000_000  # the format's own limit


@dataclass(frozen=True)
class TensorHeader:
    """What the header says of a tensor. begin, end: bytes from the start of the file."""

    name: str
    dtype: str
    shape: tuple[int, ...]
    begin: int
    end: int

    @property
    def nbytes(self) -> int:
        return self.end - self.begin


@dataclass(frozen=True)
class SafetensorsFile:
    """A checked header over a file that is opened anew for each read."""

    path: Path
    tensors: Mapping[str, TensorHeader]

    @staticmethod
    def open(path: Path) -> SafetensorsFile:
        """Read and check the header.

        Raises CheckpointError when the file is absent, truncated, or its header contradicts itself.
        """
        try:
            size = path.stat().st_size
            with path.open("rb") as file:
                length = int.from_bytes(file.read(8), "little")
                if size < 8 or length > min(size - 8, LARGEST_HEADER):
                    raise _broken(path, f"its header claims {length} bytes of a {size}-byte file")
                raw = json.loads(file.read(length), object_pairs_hook=_without_duplicates)
        except OSError as error:
            raise CheckpointError(
                path,
                f"cannot be read ({error.strerror})",
                "the download is incomplete, fetch it again",
            ) from error
        except (ValueError, RecursionError) as error:
            raise _broken(path, f"its header is not readable JSON ({error})") from error
        if not isinstance(raw, dict):
            raise _broken(path, "its header is not a JSON object")
        raw.pop("__metadata__", None)
        start = 8 + length
        return SafetensorsFile(
            path, {name: _header(path, name, entry, start, size) for name, entry in raw.items()}
        )

    def require(self, name: str, dtype: str, shape: tuple[int, ...]) -> TensorHeader:
        """The header of a tensor that must be there with this type and shape."""
        header = self.tensors.get(name)
        if header is None:
            raise CheckpointError(
                self.path, f"tensor {name} is missing", "the file is incomplete, make it again"
            )
        if (header.dtype, header.shape) != (dtype, shape):
            raise CheckpointError(
                self.path,
                f"tensor {name} is {header.dtype} {list(header.shape)}, expected {dtype} {list(shape)}",
                "it is another model's file, or damaged; fetch or make it again",
            )
        return header

    def read_bytes(self, name: str, offset: int, count: int) -> bytes:
        """`count` bytes of a tensor from byte `offset` of its data.

        Raises CheckpointError when the file has become shorter than its header says.
        """
        return read_range(self.path, name, self.tensors[name].begin + offset, count)


def _without_duplicates(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        raise ValueError("a key is there twice")
    return found


def _header(path: Path, name: str, entry: object, start: int, size: int) -> TensorHeader:
    match entry:
        case {"dtype": str(dtype), "shape": list(shape), "data_offsets": [int(begin), int(end)]}:
            pass
        case _:
            raise _broken(path, f"the header entry of tensor {name} is malformed")
    if dtype not in ITEM_BYTES:
        raise _broken(path, f"tensor {name} has unknown dtype {dtype!r}")
    if not all(type(side) is int and side >= 0 for side in shape):  # a JSON true is an int to Python
        raise _broken(path, f"tensor {name} has impossible shape {shape}")
    if not 0 <= begin <= end or start + end > size:
        raise _broken(path, f"tensor {name} lies at bytes {begin} to {end} of {size - start} bytes of data")
    if end - begin != math.prod(shape) * ITEM_BYTES[dtype]:
        raise _broken(path, f"tensor {name} has {end - begin} bytes, its shape {shape} of {dtype} does not")
    return TensorHeader(name, dtype, tuple(shape), start + begin, start + end)


def _broken(path: Path, what: str) -> CheckpointError:
    return CheckpointError(path, what, "the file is truncated or damaged, fetch it again")
