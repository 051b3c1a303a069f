"""The package's messages as this reader sees them, against coremltools' protobuf classes."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from coremltools.proto import MIL_pb2, Model_pb2

from runtimes.mil.messages import BlobReference, Bytes, Named, Value, read_functions, read_value
from runtimes.mil.model_file import ModelMessage, read_model
from runtimes.mil.tensor_types import FILE_DTYPE, TensorType
from runtimes.mil.wire import WireError


def _model_bytes(package: Path) -> bytes:
    return (package / "Data" / "com.apple.CoreML" / "model.mlmodel").read_bytes()


def _same_type(read: TensorType, written: Any) -> bool:
    if written.WhichOneof("type") == "stateType":
        written = written.stateType.wrappedType
    tensor = written.tensorType
    shape = tuple(
        d.constant.size if d.WhichOneof("dimension") == "constant" else None for d in tensor.dimensions
    )
    return read.dtype == tensor.dataType and read.shape == shape and len(shape) == tensor.rank


def _same_named(read: tuple[Named, ...], written: Any) -> bool:
    return len(read) == len(written) and all(
        r.name == w.name
        and _same_type(r.type, w.type)
        and r.is_state == (w.type.WhichOneof("type") == "stateType")
        for r, w in zip(read, written, strict=True)
    )


def _same_value(read: Value, written: Any) -> bool:
    if not _same_type(read.type, written.type):
        return False
    if written.WhichOneof("value") == "blobFileValue":
        blob = written.blobFileValue
        return read.payload == BlobReference(blob.fileName, blob.offset)
    tensor = written.immediateValue.tensor
    kind = tensor.WhichOneof("value")
    values = getattr(tensor, kind).values
    match read.payload:
        case str():
            return bool(kind == "strings" and list(values) == [read.payload])
        case Bytes(data):
            return bool(kind == "bytes" and bytes(data) == values)
        case np.ndarray():
            return bool(kind != "bytes" and read.payload.reshape(-1).tolist() == list(values))
        case _:
            return False


def _model(package: Path) -> tuple[ModelMessage, Any]:
    data = _model_bytes(package)
    model = Model_pb2.Model()
    model.ParseFromString(data)
    return read_model(memoryview(data)), model


def test_every_message_of_a_program_is_read_as_protobuf_reads_it(language_model: Path) -> None:
    read, written = _model(language_model)
    assert read.functions.keys() == dict(written.mlProgram.functions).keys() == {"main"}
    function, wanted = read.functions["main"], written.mlProgram.functions["main"]
    assert function.opset == wanted.opset
    assert _same_named(function.inputs, wanted.inputs)
    block, wanted_block = function.blocks[function.opset], wanted.block_specializations[wanted.opset]
    assert block.outputs == tuple(wanted_block.outputs)
    assert len(block.operations) == len(wanted_block.operations) > 20
    for operation, expected in zip(block.operations, wanted_block.operations, strict=True):
        assert operation.type == expected.type
        assert _same_named(operation.outputs, expected.outputs)
        assert operation.attributes.keys() == dict(expected.attributes).keys()
        assert all(_same_value(v, expected.attributes[k]) for k, v in operation.attributes.items())
        assert operation.inputs.keys() == dict(expected.inputs).keys()
        for key, bindings in operation.inputs.items():
            for binding, argument in zip(bindings, expected.inputs[key].arguments, strict=True):
                if isinstance(binding, str):
                    assert binding == argument.name
                else:
                    assert _same_value(binding, argument.value)


def test_the_interface_is_read_as_protobuf_reads_it(language_model: Path) -> None:
    read, written = _model(language_model)
    assert read.specification_version == written.specificationVersion
    interface = read.interfaces[""]
    for features, expected in (
        (interface.inputs, written.description.input),
        (interface.outputs, written.description.output),
        (interface.states, written.description.state),
    ):
        assert [feature.name for feature in features] == [e.name for e in expected]
    tokens = written.description.input[0].type.multiArrayType.shapeRange.sizeRanges
    assert interface.inputs[0].ranges == tuple((r.lowerBound, r.upperBound) for r in tokens)
    state = written.description.state[0].type.stateType.arrayType.shape
    assert interface.states[0].ranges == tuple((size, size) for size in state)


@pytest.mark.parametrize(
    ("kind", "dtype", "values"),
    [
        ("ints", MIL_pb2.INT32, [3, -4]),
        ("bools", MIL_pb2.BOOL, [True, False]),
        ("floats", MIL_pb2.FLOAT32, [0.5, -2.0]),
    ],
)
def test_immediate_numbers_are_read(kind: str, dtype: int, values: list[Any]) -> None:
    message = _value(dtype, (2,))
    getattr(message.immediateValue.tensor, kind).values.extend(values)
    read = read_value(memoryview(message.SerializeToString()))
    assert isinstance(read.payload, np.ndarray)
    assert read.payload.tolist() == values
    assert read.payload.dtype == FILE_DTYPE[read.type.dtype]


def test_immediate_numbers_of_another_count_are_refused() -> None:
    message = _value(MIL_pb2.INT32, (3,))
    message.immediateValue.tensor.ints.values.extend([1, 2])
    with pytest.raises(WireError, match="2 elements declared as int32"):
        read_value(memoryview(message.SerializeToString()))


def _value(dtype: int, shape: tuple[int, ...]) -> Any:
    message = MIL_pb2.Value()
    message.type.tensorType.dataType = dtype
    message.type.tensorType.rank = len(shape)
    for size in shape:
        message.type.tensorType.dimensions.add().constant.size = size
    return message


def test_an_unknown_element_type_is_refused() -> None:
    message = _value(MIL_pb2.BFLOAT16, (2,))
    message.immediateValue.tensor.bytes.values = b"\0\0\0\0"
    with pytest.raises(WireError, match="element type 13"):
        read_value(memoryview(message.SerializeToString()))


def test_an_unknown_field_is_refused_with_its_message_and_number() -> None:
    operation = MIL_pb2.Operation(type="add").SerializeToString() + b"\x4a\x01x"  # field 9
    block = MIL_pb2.Block()
    data = b"\x1a" + bytes([len(operation)]) + operation  # Block.operations
    function = MIL_pb2.Function(opset="CoreML8", block_specializations={"CoreML8": block})
    program = MIL_pb2.Program(version=1, functions={"main": function})
    assert read_functions(memoryview(program.SerializeToString()))["main"].opset == "CoreML8"
    damaged = _nested(data)
    with pytest.raises(WireError, match="Operation: unknown field 9"):
        read_functions(memoryview(damaged))


def _nested(block: bytes) -> bytes:
    """A program whose one function has one block of these bytes."""
    entry = b"\x0a\x01k\x12" + bytes([len(block)]) + block
    function = b"\x1a" + bytes([len(entry)]) + entry
    named = b"\x0a\x01f\x12" + bytes([len(function)]) + function
    return b"\x12" + bytes([len(named)]) + named


def test_control_flow_is_refused() -> None:
    operation = MIL_pb2.Operation(type="cond", blocks=[MIL_pb2.Block()])
    program = MIL_pb2.Program(version=1)
    block = program.functions["main"].block_specializations["CoreML8"]
    block.operations.append(operation)
    with pytest.raises(WireError, match="'cond': nested blocks"):
        read_functions(memoryview(program.SerializeToString()))


def test_a_state_of_a_state_is_refused_however_deep() -> None:
    kind = b"\x0a\x00"
    for _ in range(3000):  # ValueType.stateType.wrappedType, again and again
        inner = b"\x0a" + _varint(len(kind)) + kind
        kind = b"\x2a" + _varint(len(inner)) + inner
    named = b"\x0a\x01s\x12" + _varint(len(kind)) + kind
    function = b"\x0a" + _varint(len(named)) + named
    entry = b"\x0a\x01f\x12" + _varint(len(function)) + function
    with pytest.raises(WireError, match="wraps something else than a tensor"):
        read_functions(memoryview(b"\x12" + _varint(len(entry)) + entry))


def _varint(value: int) -> bytes:
    out = bytearray()
    while value >= 0x80:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    return bytes([*out, value])


def test_a_model_that_is_no_ml_program_is_refused() -> None:
    model = Model_pb2.Model(specificationVersion=9)
    with pytest.raises(WireError, match="not an ML Program"):
        read_model(memoryview(model.SerializeToString()))
    model.neuralNetwork.SetInParent()
    with pytest.raises(WireError, match="Model: unknown field"):
        read_model(memoryview(model.SerializeToString()))


def test_functions_by_name_and_what_a_maker_says_are_read() -> None:
    model = Model_pb2.Model(specificationVersion=9)
    model.mlProgram.version = 1
    for name in ("main", "images"):
        model.mlProgram.functions[name].opset = "CoreML8"
        function = model.description.functions.add(name=name)
        function.input.add(name=f"of {name}").type.multiArrayType.shape.append(3)
    model.description.defaultFunctionName = "main"
    model.description.metadata.author = "somebody"
    model.description.metadata.userDefined["gemma-export.image_token"] = "500"
    read = read_model(memoryview(model.SerializeToString()))
    assert read.default_function == "main"
    assert {name: each.inputs[0].name for name, each in read.interfaces.items()} == {
        "main": "of main",
        "images": "of images",
    }
    assert read.facts == {"gemma-export.image_token": "500"}


def test_metadata_of_an_unknown_field_is_refused() -> None:
    metadata = b"\x2a\x00"  # field 5
    description = b"\xa2\x06" + _varint(len(metadata)) + metadata
    with pytest.raises(WireError, match="Metadata: unknown field 5"):
        read_model(memoryview(b"\x12" + _varint(len(description)) + description))
