"""Elements of a constant, out of its bytes: all of them, or a run of rows.

Not about what the elements mean (see `constexpr`). Rows are along the first axis. Sub-byte elements
lie row-major without gaps, the first of a byte in its low bits.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import prod

import numpy as np

from runtimes.errors import ArtifactError
from runtimes.mil.tensor_types import (
    FILE_DTYPE,
    MEMORY_DTYPE,
    SUB_BYTE,
    Array,
    DataType,
    Floats,
    TensorType,
)


@dataclass(frozen=True)
class Elements:
    """A constant's elements, still as stored. `source` names it in errors."""

    type: TensorType
    data: memoryview
    source: str

    def __post_init__(self) -> None:
        if self.type.dtype is DataType.STRING:
            raise ArtifactError(f"{self.source}: a string where numbers belong; export again")
        wanted = _byte_count(self.type.elements, self.type.dtype)
        if len(self.data) != wanted:
            raise ArtifactError(
                f"{self.source}: {self.type} wants {wanted} bytes, its payload has "
                f"{len(self.data)}; the artifact is damaged, export again"
            )

    @property
    def shape(self) -> tuple[int, ...]:
        return self.type.known_shape

    def all(self) -> Array:
        """Every element, in the type's in-memory form; a new array."""
        return self._decode(0, self.type.elements).reshape(self.shape)

    def rows(self, start: int, stop: int) -> Array:
        """Elements of rows start … stop; floats keep their stored width. May view the file."""
        width = prod(self.shape[1:])
        flat = self._stored(start * width, stop * width)
        return flat.reshape(stop - start, *self.shape[1:])

    def write_rows(self, start: int, stop: int, out: Floats) -> None:
        """Rows start … stop as numbers into `out`, [stop - start, …] fp32 without gaps."""
        width = prod(self.shape[1:])
        if self.type.dtype in SUB_BYTE and start * width % 2 == 0 and stop * width % 2 == 0:
            packed = np.frombuffer(self.data, np.uint8)[start * width // 2 : stop * width // 2]
            # Every byte is in the table: "clip" only spares numpy a copy of the result.
            np.take(_PAIRS[self.type.dtype], packed, axis=0, out=out.reshape(-1, 2), mode="clip")
        else:
            np.copyto(out, self.rows(start, stop))

    def take(self, rows: Array) -> Array:
        """The given rows, in the type's in-memory form; a new array [len(rows), …]."""
        width = prod(self.shape[1:])
        if self.type.dtype not in SUB_BYTE:
            table = self._stored(0, self.type.elements).reshape(self.shape)
            return table[rows].astype(MEMORY_DTYPE[self.type.dtype])
        taken = np.empty((rows.size, width), MEMORY_DTYPE[self.type.dtype])
        for at, row in enumerate(rows.tolist()):
            taken[at] = self._stored(row * width, (row + 1) * width)
        return taken.reshape(rows.size, *self.shape[1:])

    def _decode(self, start: int, stop: int) -> Array:
        return self._stored(start, stop).astype(MEMORY_DTYPE[self.type.dtype])

    def _stored(self, start: int, stop: int) -> Array:
        if self.type.dtype in SUB_BYTE:
            return _nibbles(self.data, start, stop, signed=self.type.dtype is DataType.INT4)
        dtype = FILE_DTYPE[self.type.dtype]
        return np.frombuffer(self.data, dtype, count=stop - start, offset=start * dtype.itemsize)


def _byte_count(elements: int, dtype: DataType) -> int:
    return -(-elements // 2) if dtype in SUB_BYTE else elements * FILE_DTYPE[dtype].itemsize


def _nibbles(data: memoryview, start: int, stop: int, *, signed: bool) -> Array:
    """Elements start … stop of 4-bit ones, as int8 or uint8.

    A byte is spread over two, then both halves are sign-extended at once: (x ^ 8) - 8.
    """
    packed = np.frombuffer(data, np.uint8)[start // 2 : -(-stop // 2)]
    pairs = packed.astype(np.uint16)
    pairs |= pairs << np.uint16(4)
    pairs &= np.uint16(0x0F0F)
    if signed:
        pairs ^= np.uint16(0x0808)
        spread = pairs.astype("<u2", copy=False).view(np.int8)
        spread -= np.int8(8)
        return spread[start % 2 : start % 2 + stop - start]
    return pairs.astype("<u2", copy=False).view(np.uint8)[start % 2 : start % 2 + stop - start]


def _pairs(*, signed: bool) -> Floats:
    """[256, 2]: the two elements of every byte, as numbers."""
    every = memoryview(bytes(range(256)))
    return _nibbles(every, 0, 512, signed=signed).astype(np.float32).reshape(256, 2)


_PAIRS = {dtype: _pairs(signed=dtype is DataType.INT4) for dtype in SUB_BYTE}
