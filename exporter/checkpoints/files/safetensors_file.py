"""`SafetensorsFile`: one safetensors file, its header checked, its data read with `pread`.

Why not the safetensors package: it maps the file (`byte_ranges` says what that costs). The header
is read and checked here as strictly as there, byte ranges are read on demand. What the tensors mean is the
readers' business. Format: little-endian u64 header length, JSON header, data, every byte of which is one
tensor's (safetensors 0.8, "Format").
"""

from __future__ import annotations

import math
import stat
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

from exporter.checkpoints.files.byte_ranges import read_range
from exporter.errors import CheckpointError
from runtimes.excerpt import excerpt
from runtimes.strict_json import StrictJsonError, parse_json_object

ITEM_BYTES = {
    "BOOL": 1, "U8": 1, "I8": 1, "F8_E4M3": 1, "F8_E5M2": 1, "I16": 2, "U16": 2, "F16": 2, "BF16": 2,
    "I32": 4, "U32": 4, "F32": 4, "I64": 8, "U64": 8, "F64": 8,
}  # fmt: skip
LARGEST_HEADER = 16 << 20  # bytes; Gemma 4's have some 200 KB, the format would allow 100 MB
LONGEST_NAME = 200  # letters; a PEFT adapter's names have some 120
MOST_SIDES = 8
LARGEST_OFFSET = (1 << 63) - 1


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
            status = path.stat()
            if not stat.S_ISREG(status.st_mode):
                raise _broken(path, "is not a plain file")
            size = status.st_size
            with path.open("rb") as file:
                length = int.from_bytes(file.read(8), "little")
                if size < 8 or length > min(size - 8, LARGEST_HEADER):
                    raise _broken(path, f"its header claims {length} bytes of a {size}-byte file")
                raw = parse_json_object(file.read(length))
        except OSError as error:
            raise CheckpointError(
                path,
                f"cannot be read ({error.strerror})",
                "the download is incomplete, fetch it again",
            ) from error
        except StrictJsonError as error:
            raise _broken(path, f"its header is not readable JSON ({error})") from error
        described = {} if (found := raw.pop("__metadata__", None)) is None else found
        if not isinstance(described, dict) or not all(isinstance(each, str) for each in described.values()):
            raise _broken(path, "its header has a __metadata__ that is not words")
        start = 8 + length
        tensors = {name: _header(path, name, entry, start, size) for name, entry in raw.items()}
        _require_no_gap(path, tensors.values(), start, size)
        return SafetensorsFile(path, tensors)

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


def _header(path: Path, name: str, entry: object, start: int, size: int) -> TensorHeader:
    if not 0 < len(name) <= LONGEST_NAME or not name.isprintable():
        raise _broken(path, f"a tensor is called {excerpt(name)}")
    match entry:
        case {"dtype": str(dtype), "shape": list(shape), "data_offsets": [begin, end], **more} if not more:
            pass
        case _:
            raise _broken(path, f"the header entry of tensor {name} is malformed")
    if dtype not in ITEM_BYTES:
        raise _broken(path, f"tensor {name} has unknown dtype {excerpt(dtype)}")
    if len(shape) > MOST_SIDES or not all(_is_offset(side) for side in shape):
        raise _broken(path, f"tensor {name} has impossible shape {excerpt(shape)}")
    if not (_is_offset(begin) and _is_offset(end)) or begin > end or start + end > size:
        raise _broken(
            path,
            f"tensor {name} lies at bytes {excerpt(begin)} to {excerpt(end)} of {size - start} of data",
        )
    if end - begin != math.prod(shape) * ITEM_BYTES[dtype]:
        raise _broken(path, f"tensor {name} has {end - begin} bytes, its shape {shape} of {dtype} does not")
    return TensorHeader(name, dtype, tuple(shape), start + begin, start + end)


def _is_offset(value: object) -> bool:
    return type(value) is int and 0 <= value <= LARGEST_OFFSET  # a JSON true is an int to Python


def _require_no_gap(path: Path, tensors: Iterable[TensorHeader], start: int, size: int) -> None:
    """Every byte of the data is one tensor's: what overlaps or is left over is damage or hides."""
    at = start
    for each in sorted(tensors, key=lambda tensor: (tensor.begin, tensor.end)):
        if each.begin != at:
            what = "overlaps the one before it" if each.begin < at else "leaves a hole before it"
            raise _broken(path, f"tensor {each.name} {what}")
        at = each.end
    if at != size:
        raise _broken(path, f"its tensors end at byte {at} of {size}")


def _broken(path: Path, what: str) -> CheckpointError:
    return CheckpointError(path, what, "the file is truncated or damaged, fetch it again")
