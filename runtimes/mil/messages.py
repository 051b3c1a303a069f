"""The messages of a saved ML Program that matter to running it, as frozen values.

Not about meaning: names are not resolved and types are not compared here. Any field this reader
has no meaning for is refused, so that a program which says more than is understood does not run.
Field numbers: mlmodel/format/MIL.proto of Apple's coremltools.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from runtimes.mil.tensor_types import MEMORY_DTYPE, Array, DataType, TensorType
from runtimes.mil.wire import Field, WireError, fields, map_entry


@dataclass(frozen=True)
class BlobReference:
    """Where in a weight file a value's payload begins: the offset of its metadata."""

    file: str
    offset: int


@dataclass(frozen=True)
class Bytes:
    """A payload written into the program itself, in the element layout of a weight file."""

    data: memoryview


Payload = Array | str | Bytes | BlobReference


@dataclass(frozen=True)
class Value:
    """A constant: its declared type and what holds its elements."""

    type: TensorType
    payload: Payload


Binding = str | Value
"""An argument: the name of a value, or a constant written in place."""


@dataclass(frozen=True)
class Named:
    """A declared input or output of a function or operation."""

    name: str
    type: TensorType
    is_state: bool = False


@dataclass(frozen=True)
class OperationMessage:
    type: str
    inputs: dict[str, tuple[Binding, ...]]
    outputs: tuple[Named, ...]
    attributes: dict[str, Value]

    @property
    def label(self) -> str:
        """How errors name it: its type and first output."""
        return f"{self.type} → {self.outputs[0].name}" if self.outputs else self.type


@dataclass(frozen=True)
class Block:
    outputs: tuple[str, ...]
    operations: tuple[OperationMessage, ...]


@dataclass(frozen=True)
class ProgramFunction:
    """A function of the program; `blocks` by operation set, of which `opset` is the one to run."""

    inputs: tuple[Named, ...]
    opset: str
    blocks: dict[str, Block]


def read_functions(data: memoryview) -> dict[str, ProgramFunction]:
    """Parse a `Program`. Raises WireError saying which message and field is not understood."""
    functions: dict[str, ProgramFunction] = {}
    for field in fields(data, "Program"):
        match field.number:
            case 1:
                if field.signed() != 1:
                    raise WireError(f"Program: version {field.signed()} is not 1")
            case 2:
                name, body = map_entry(field.submessage(), "Program.functions")
                functions[name] = _function(body)
            case 3 | 4:  # documentation, and how the program was built
                continue
            case _:
                raise field.unknown()
    return functions


def _function(data: memoryview) -> ProgramFunction:
    inputs: list[Named] = []
    opset = ""
    blocks: dict[str, Block] = {}
    for field in fields(data, "ProgramFunction"):
        match field.number:
            case 1:
                inputs.append(_named(field.submessage()))
            case 2:
                opset = field.text()
            case 3:
                key, body = map_entry(field.submessage(), "ProgramFunction.block_specializations")
                blocks[key] = _block(body)
            case _:
                raise field.unknown()
    return ProgramFunction(tuple(inputs), opset, blocks)


def _block(data: memoryview) -> Block:
    outputs: list[str] = []
    operations: list[OperationMessage] = []
    for field in fields(data, "Block"):
        match field.number:
            case 2:
                outputs.append(field.text())
            case 3:
                operations.append(_operation(field.submessage()))
            case _:
                raise field.unknown()
    return Block(tuple(outputs), tuple(operations))


def _operation(data: memoryview) -> OperationMessage:
    kind = ""
    inputs: dict[str, tuple[Binding, ...]] = {}
    outputs: list[Named] = []
    attributes: dict[str, Value] = {}
    for field in fields(data, "Operation"):
        match field.number:
            case 1:
                kind = field.text()
            case 2:
                key, body = map_entry(field.submessage(), "Operation.inputs")
                inputs[key] = _argument(body)
            case 3:
                outputs.append(_named(field.submessage()))
            case 4:
                raise WireError(f"Operation {kind!r}: nested blocks (control flow) are not supported")
            case 5:
                key, body = map_entry(field.submessage(), "Operation.attributes")
                attributes[key] = read_value(body)
            case _:
                raise field.unknown()
    return OperationMessage(kind, inputs, tuple(outputs), attributes)


def _argument(data: memoryview) -> tuple[Binding, ...]:
    bindings: list[Binding] = []
    for field in fields(data, "Argument"):
        if field.number != 1:
            raise field.unknown()
        for inner in fields(field.submessage(), "Binding"):
            match inner.number:
                case 1:
                    bindings.append(inner.text())
                case 2:
                    bindings.append(read_value(inner.submessage()))
                case _:
                    raise inner.unknown()
    return tuple(bindings)


def _named(data: memoryview) -> Named:
    name = ""
    kind: tuple[TensorType, bool] | None = None
    for field in fields(data, "NamedValueType"):
        match field.number:
            case 1:
                name = field.text()
            case 2:
                kind = _value_type(field.submessage())
            case _:
                raise field.unknown()
    if kind is None:
        raise WireError(f"NamedValueType: {name!r} has no type")
    return Named(name, *kind)


def _value_type(data: memoryview) -> tuple[TensorType, bool]:
    """The tensor type, and whether a state wraps it."""
    for field in fields(data, "ValueType"):
        match field.number:
            case 1:
                return _tensor_type(field.submessage()), False
            case 5:
                for inner in fields(field.submessage(), "StateType"):
                    for wrapped in fields(inner.submessage(), "StateType.wrappedType"):
                        if inner.number != 1 or wrapped.number != 1:
                            raise WireError("StateType: wraps something else than a tensor")
                        return _tensor_type(wrapped.submessage()), True
            case _:
                raise WireError(f"ValueType: field {field.number} is not a tensor or a state")
    raise WireError("ValueType: empty")


def _tensor_type(data: memoryview) -> TensorType:
    dtype, rank = 0, 0
    shape: list[int | None] = []
    for field in fields(data, "TensorType"):
        match field.number:
            case 1:
                dtype = field.unsigned()
            case 2:
                rank = field.signed()
            case 3:
                shape.append(_dimension(field.submessage()))
            case _:
                raise field.unknown()
    try:
        known = DataType(dtype)
    except ValueError as error:
        raise WireError(f"TensorType: element type {dtype} is not supported") from error
    if rank != len(shape):
        raise WireError(f"TensorType: rank {rank} with {len(shape)} dimensions")
    return TensorType(known, tuple(shape))


def _dimension(data: memoryview) -> int | None:
    size: int | None = 0
    for field in fields(data, "Dimension"):
        match field.number:
            case 1:
                size = 0
                for inner in fields(field.submessage(), "ConstantDimension"):
                    if inner.number != 1:
                        raise inner.unknown()
                    size = inner.unsigned()
            case 2:
                size = None
                for inner in fields(field.submessage(), "UnknownDimension"):
                    if inner.number != 1 or inner.flag():
                        raise WireError("UnknownDimension: variadic ranks are not supported")
            case _:
                raise field.unknown()
    return size


def read_value(data: memoryview) -> Value:
    """Parse a `Value`: a constant in place, or a reference into a weight file."""
    kind: tuple[TensorType, bool] | None = None
    payload: memoryview | BlobReference | None = None
    for field in fields(data, "Value"):
        match field.number:
            case 1:  # documentation
                continue
            case 2:
                kind = _value_type(field.submessage())
            case 3:
                payload = _immediate(field)
            case 5:
                payload = _blob_reference(field.submessage())
            case _:
                raise field.unknown()
    if kind is None or kind[1] or payload is None:
        raise WireError("Value: not a tensor constant")
    if isinstance(payload, BlobReference):
        return Value(kind[0], payload)
    return Value(kind[0], _tensor_value(payload, kind[0]))


def _immediate(value: Field) -> memoryview:
    for field in fields(value.submessage(), "ImmediateValue"):
        if field.number != 1:
            raise WireError(f"ImmediateValue: field {field.number} is not a tensor")
        return field.submessage()
    raise WireError("ImmediateValue: empty")


def _blob_reference(data: memoryview) -> BlobReference:
    file, offset = "", 0
    for field in fields(data, "BlobFileValue"):
        match field.number:
            case 1:
                file = field.text()
            case 2:
                offset = field.unsigned()
            case _:
                raise field.unknown()
    return BlobReference(file, offset)


def _tensor_value(data: memoryview, declared: TensorType) -> Payload:
    for field in fields(data, "TensorValue"):
        inner = list(fields(field.submessage(), "TensorValue.values"))
        if any(item.number != 1 for item in inner):
            raise WireError("TensorValue.values: a field other than 1")
        match field.number:
            case 1 | 6:
                width = np.float32 if field.number == 1 else np.float64
                floats = [item.floats(width) for item in inner]
                return _shaped(np.concatenate(floats) if floats else np.zeros(0, width), declared)
            case 2 | 3 | 5:
                integers = [number for item in inner for number in item.integers()]
                return _shaped(np.array(integers, np.int64), declared)
            case 4:
                if declared.shape or len(inner) != 1:
                    raise WireError("TensorValue: only a single string is supported")
                return inner[0].text()
            case 7:
                return Bytes(inner[0].submessage() if inner else memoryview(b""))
            case _:
                raise field.unknown()
    raise WireError("TensorValue: empty")


def _shaped(values: Array, declared: TensorType) -> Array:
    """Elements as a constant of the declared type."""
    if declared.dtype not in MEMORY_DTYPE:
        raise WireError(f"TensorValue: numbers declared as {declared}")
    if values.size != declared.elements:
        raise WireError(f"TensorValue: {values.size} elements declared as {declared}")
    return values.astype(MEMORY_DTYPE[declared.dtype]).reshape(declared.known_shape)
