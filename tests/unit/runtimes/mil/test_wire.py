"""The wire format reader, against protobuf's own encoder and against damaged bytes."""

from __future__ import annotations

import numpy as np
import pytest
from coremltools.proto import MIL_pb2
from hypothesis import given
from hypothesis import strategies as st

from runtimes.mil.wire import WireError, fields, map_entry


def _only(data: bytes) -> list[tuple[int, object]]:
    return [(f.number, f.value) for f in fields(memoryview(data), "Test")]


@given(st.lists(st.integers(-(1 << 31), (1 << 31) - 1)))
def test_packed_integers_come_back_as_protobuf_wrote_them(values: list[int]) -> None:
    message = MIL_pb2.TensorValue.RepeatedInts(values=values)
    read = [n for f in fields(memoryview(message.SerializeToString()), "Ints") for n in f.integers()]
    assert read == values


@given(st.lists(st.integers(-(1 << 63), (1 << 63) - 1), min_size=1))
def test_unpacked_integers_are_read_one_by_one(values: list[int]) -> None:
    packed = MIL_pb2.TensorValue.RepeatedLongInts(values=values).SerializeToString()
    (whole,) = fields(memoryview(packed), "Longs")
    separate = b"".join(b"\x08" + _varint(value & ((1 << 64) - 1)) for value in values)
    read = [n for f in fields(memoryview(separate), "Longs") for n in f.integers()]
    assert read == whole.integers() == values


def _varint(value: int) -> bytes:
    out = bytearray()
    while value >= 0x80:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    return bytes([*out, value])


@given(st.lists(st.floats(width=32, allow_nan=False)))
def test_floats_come_back_as_protobuf_wrote_them(values: list[float]) -> None:
    data = MIL_pb2.TensorValue.RepeatedFloats(values=values).SerializeToString()
    read = [x for f in fields(memoryview(data), "Floats") for x in f.floats(np.float32).tolist()]
    assert read == values


def test_a_map_entry_gives_its_key_and_its_value() -> None:
    function = MIL_pb2.Function(opset="CoreML8")
    program = MIL_pb2.Program(functions={"main": function})
    (entry,) = fields(memoryview(program.SerializeToString()), "Program")
    key, value = map_entry(entry.submessage(), "Program.functions")
    assert key == "main"
    assert bytes(value) == function.SerializeToString()


@pytest.mark.parametrize(
    ("data", "what"),
    [
        (b"\x08", "end inside a varint"),
        (b"\x08" + b"\xff" * 10, "longer than ten bytes"),
        (b"\x0a\x05abc", "wants 5 bytes, 3 are left"),
        (b"\x09\x00", "wants 8 bytes, 1 are left"),
        (b"\x0b", "wire type 3"),
    ],
)
def test_damaged_bytes_are_refused(data: bytes, what: str) -> None:
    with pytest.raises(WireError, match=what):
        _only(data)


def test_a_field_of_another_kind_is_refused() -> None:
    (varint,) = fields(memoryview(b"\x08\x01"), "Test")
    (text,) = fields(memoryview(b"\x0a\x01\xff"), "Test")
    with pytest.raises(WireError, match="not length-delimited"):
        varint.submessage()
    with pytest.raises(WireError, match="not a varint"):
        text.unsigned()
    with pytest.raises(WireError, match="not UTF-8"):
        text.text()
    with pytest.raises(WireError, match="not of whole float32"):
        text.floats(np.float32)
