"""What a MIL value is declared to be: element type and shape.

It says nothing about values. In memory every floating value is held as float32, whatever its
declared width: `arithmetic` decides what rounding the width asks for.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum
from math import prod
from typing import Any

import numpy as np
from numpy.typing import NDArray

Array = NDArray[Any]
Floats = NDArray[np.float32]


class DataType(IntEnum):
    """`MILSpec.DataType` (mlmodel/format/MIL.proto): the element types this evaluator knows."""

    BOOL = 1
    STRING = 2
    FLOAT16 = 10
    FLOAT32 = 11
    INT8 = 21
    INT16 = 22
    INT32 = 23
    INT4 = 25
    UINT8 = 31
    UINT16 = 32
    UINT4 = 35


FLOATING = frozenset({DataType.FLOAT16, DataType.FLOAT32})
SUB_BYTE = frozenset({DataType.INT4, DataType.UINT4})

# How a payload's elements lie in a file (sub-byte ones are packed, see `payloads`).
FILE_DTYPE: dict[DataType, np.dtype[np.generic]] = {
    DataType.BOOL: np.dtype(np.bool_),
    DataType.FLOAT16: np.dtype("<f2"),
    DataType.FLOAT32: np.dtype("<f4"),
    DataType.INT8: np.dtype(np.int8),
    DataType.INT16: np.dtype("<i2"),
    DataType.INT32: np.dtype("<i4"),
    DataType.UINT8: np.dtype(np.uint8),
    DataType.UINT16: np.dtype("<u2"),
}

# How a value of the type is held while the program runs.
MEMORY_DTYPE: dict[DataType, np.dtype[np.generic]] = {
    **{kind: dtype.newbyteorder("=") for kind, dtype in FILE_DTYPE.items()},
    DataType.FLOAT16: np.dtype(np.float32),
    DataType.INT4: np.dtype(np.int8),
    DataType.UINT4: np.dtype(np.uint8),
}

# Names the `dtype` argument of `cast` uses.
NAMED: dict[str, DataType] = {
    "bool": DataType.BOOL,
    "fp16": DataType.FLOAT16,
    "fp32": DataType.FLOAT32,
    "int8": DataType.INT8,
    "int16": DataType.INT16,
    "int32": DataType.INT32,
    "uint8": DataType.UINT8,
    "uint16": DataType.UINT16,
}


@dataclass(frozen=True)
class TensorType:
    """Declared type of a value. A dimension of `None` is known only when the program runs."""

    dtype: DataType
    shape: tuple[int | None, ...]

    @property
    def known_shape(self) -> tuple[int, ...]:
        """The shape of a constant. Raises ValueError where a dimension is open."""
        dimensions = tuple(d for d in self.shape if d is not None)
        if len(dimensions) != len(self.shape):
            raise ValueError(f"a constant of open shape {self}")
        return dimensions

    @property
    def elements(self) -> int:
        return prod(self.known_shape)

    def admits(self, value: Array) -> bool:
        """Whether a value's element type in memory, rank and closed dimensions are as declared."""
        if value.dtype != MEMORY_DTYPE[self.dtype]:
            return False
        if value.shape == self.shape:
            return True
        return len(value.shape) == len(self.shape) and all(
            d is None or d == n for d, n in zip(self.shape, value.shape, strict=True)
        )

    def __str__(self) -> str:
        sizes = ", ".join("?" if d is None else str(d) for d in self.shape)
        return f"{self.dtype.name.lower()}[{sizes}]"
