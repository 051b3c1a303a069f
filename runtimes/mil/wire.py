"""Protocol Buffers' wire format: the numbered fields of one message's bytes.

It says nothing about MIL: which number means what is in `messages`. Written out here because the
light install has no protobuf, and because a reader of its own can refuse a field it does not know,
where protobuf would drop it without a word.

Source of the format: protobuf.dev/programming-guides/encoding.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

VARINT, FIXED64, LENGTH_DELIMITED, FIXED32 = 0, 1, 2, 5


class WireError(ValueError):
    """Bytes that are not the message they should be. The caller adds the file's name."""


@dataclass(frozen=True)
class Field:
    """One field of a message, still encoded.

    message: name of the message it belongs to, for errors.
    value: the integer of a varint, else the payload's bytes.
    """

    message: str
    number: int
    wire_type: int
    value: int | memoryview

    def _bytes(self) -> memoryview:
        if self.wire_type != LENGTH_DELIMITED or isinstance(self.value, int):
            raise WireError(f"{self.message}: field {self.number} is not length-delimited")
        return self.value

    def unknown(self) -> WireError:
        """The error for a field number the reader has no meaning for."""
        return WireError(f"{self.message}: unknown field {self.number}")

    def submessage(self) -> memoryview:
        return self._bytes()

    def text(self) -> str:
        try:
            return str(self._bytes(), "utf-8")
        except UnicodeDecodeError as error:
            raise WireError(f"{self.message}: field {self.number} is not UTF-8") from error

    def unsigned(self) -> int:
        if not isinstance(self.value, int):
            raise WireError(f"{self.message}: field {self.number} is not a varint")
        return self.value

    def signed(self) -> int:
        """An int32 or int64: negative numbers are their 64-bit two's complement."""
        value = self.unsigned()
        return value - (1 << 64) if value >> 63 else value

    def flag(self) -> bool:
        return self.unsigned() != 0

    def integers(self) -> list[int]:
        """A repeated int32, int64 or bool, packed or as one element."""
        if isinstance(self.value, int):
            return [self.signed()]
        data, at, values = self._bytes(), 0, []
        while at < len(data):
            value, at = _varint(data, at, self.message)
            values.append(value - (1 << 64) if value >> 63 else value)
        return values

    def floats(self, dtype: type[np.float32] | type[np.float64]) -> NDArray[np.floating]:
        """A repeated float or double, packed or as one element; little-endian on the wire."""
        if isinstance(self.value, int) or len(self.value) % np.dtype(dtype).itemsize:
            raise WireError(f"{self.message}: field {self.number} is not of whole {dtype.__name__}")
        return np.frombuffer(self.value, np.dtype(dtype).newbyteorder("<")).astype(dtype)


def fields(data: memoryview, message: str) -> Iterator[Field]:
    """The fields of one message, in the order written.

    Raises WireError where the bytes end inside a field or use a wire type of proto2's groups.
    """
    at = 0
    while at < len(data):
        key, at = _varint(data, at, message)
        number, wire_type = key >> 3, key & 7
        if wire_type == VARINT:
            value, at = _varint(data, at, message)
            yield Field(message, number, wire_type, value)
            continue
        if wire_type == LENGTH_DELIMITED:
            size, at = _varint(data, at, message)
        elif wire_type == FIXED64:
            size = 8
        elif wire_type == FIXED32:
            size = 4
        else:
            raise WireError(f"{message}: field {number} has wire type {wire_type}")
        if size > len(data) - at:
            raise WireError(f"{message}: field {number} wants {size} bytes, {len(data) - at} are left")
        yield Field(message, number, wire_type, data[at : at + size])
        at += size


def map_entry(data: memoryview, message: str) -> tuple[str, memoryview]:
    """A `map<string, Message>` entry: key is field 1, value is field 2."""
    key, value = "", memoryview(b"")
    for field in fields(data, message):
        match field.number:
            case 1:
                key = field.text()
            case 2:
                value = field.submessage()
            case _:
                raise field.unknown()
    return key, value


def _varint(data: memoryview, at: int, message: str) -> tuple[int, int]:
    value = 0
    for shift in range(0, 70, 7):
        if at >= len(data):
            raise WireError(f"{message}: the bytes end inside a varint")
        byte = data[at]
        at += 1
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            return value & 0xFFFFFFFFFFFFFFFF, at
    raise WireError(f"{message}: a varint longer than ten bytes")
