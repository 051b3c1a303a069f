"""Putting the checkpoint's weights where converted programs have inputs.

    (1) drop the matrices from the function's inputs and from the model's description
    (2) prepend a constant of the same name for each: `const` for fp16 values,
        `constexpr_blockwise_shift_scale` for codes and scales, and zero points, its "offset"
    (3) rewrite every matmul with such a matrix to `linear`
    (4) lay out the payloads: the program's own small constants, then the matrices in graph order

More functions of the same weights refer to what the first one laid out: each matrix is in the file once,
and so is a small constant that both have. Of matrices nothing is read here: payloads are laid out and read
when the weight file is written. A tied embedding is one constant that a gather and a linear share. Not
about how the graphs came to be (`traced_program`) or how functions make one model (`functions`).
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from exporter.errors import LoweringError
from exporter.lowering.coreml.blob_file import (
    RECORD,
    SENTINEL,
    Blob,
    BlobWriter,
    Element,
    file_pieces,
    one_piece,
)
from exporter.lowering.coreml.traced_program import ConvertedProgram, slot_name, weight_name
from exporter.quantization.store.checkpoint import FloatMatrix, IntegerMatrix, Matrix, row_chunks
from exporter.quantization.store.packing import as_twos_complement, pack

WEIGHT_FILE = "@model_path/weights/weight.bin"
MAIN = "main"
USES = {("linear", "weight"), ("gather", "x"), ("add", "y")}  # of a matrix; a table is added whole
OFFSET_ROWS = 1 << 15  # even: such rows of 4-bit numbers fill whole bytes


def bind(
    program: ConvertedProgram, matrices: Mapping[str, Matrix], others: Sequence[ConvertedProgram] = ()
) -> BlobWriter:
    """Edit the programs' protobufs in place; returns the weight file they now refer to, unwritten.

    The first uses every matrix and lays them out; `others` use some of them. Raises LoweringError when a
    program uses a matrix in a way that is not expected.
    """
    weights = _Weights()
    _bind_one(program, matrices, weights)
    for other in others:
        given = {weight_name(entry.name) for entry in other.model.mlProgram.functions[MAIN].inputs}
        used = {name: matrix for name, matrix in matrices.items() if name in given}
        _bind_one(other, used, replace(weights, sharing=True))
    return weights.file


@dataclass(frozen=True)
class _Weights:
    """The weight file in the making. laid_out: operations that make a matrix or a bias, by name. small:
    where a constant of this type and digest is. sharing: whether such a constant is used again."""

    file: BlobWriter = field(default_factory=BlobWriter)
    laid_out: dict[str, Any] = field(default_factory=dict)
    small: dict[tuple[Element, bytes], int] = field(default_factory=dict)
    sharing: bool = False


def _bind_one(program: ConvertedProgram, matrices: Mapping[str, Matrix], weights: _Weights) -> None:
    function = program.model.mlProgram.functions[MAIN]
    block = function.block_specializations[function.opset]
    slots = {slot_name(name): matrix for name, matrix in matrices.items()}
    # (1)
    _drop_inputs(function.inputs, slots)
    _drop_inputs(program.model.description.input, slots)
    # (3)
    widths = [_to_linear(operation, slots) for operation in block.operations]
    _refuse_other_uses(block, slots)
    # (4)
    for operation in block.operations:
        _move_constants(operation, program.constants, weights)
    # (2)
    message = type(block)()
    for width in sorted({width for width in widths if width is not None}):
        name = _bias_name(width)
        if name not in weights.laid_out:
            weights.laid_out[name] = type(block.operations[0])()
            _zero_bias(weights.laid_out[name], width, weights.file)
        message.operations.add().CopyFrom(weights.laid_out[name])
    for slot, matrix in slots.items():
        if slot not in weights.laid_out:
            weights.laid_out[slot] = type(block.operations[0])()
            _constant(weights.laid_out[slot], slot, matrix, weights.file)
        message.operations.add().CopyFrom(weights.laid_out[slot])
    used = _names_used(block)
    for operation in block.operations:
        if operation.type != "const" or operation.outputs[0].name in used:
            message.operations.add().CopyFrom(operation)
    del block.operations[:]
    block.operations.MergeFrom(message.operations)


def _drop_inputs(inputs: Any, slots: Mapping[str, Matrix]) -> None:
    kept = [entry for entry in inputs if entry.name not in slots]
    if len(inputs) - len(kept) != len(slots):
        missing = min(set(slots) - {entry.name for entry in inputs})
        raise LoweringError(
            weight_name(missing),
            "the converted program has no input of this name",
            "the decoder does not use this weight: this is a bug in gemma-export; report it",
        )
    copies = [type(entry).FromString(entry.SerializeToString()) for entry in kept]
    del inputs[:]
    inputs.extend(copies)


def _to_linear(operation: Any, slots: Mapping[str, Matrix]) -> int | None:
    """matmul(x, W, transpose_y) to linear(x, weight, bias); the width of the bias it needs."""
    if operation.type != "matmul" or operation.inputs["y"].arguments[0].name not in slots:
        return None
    slot = operation.inputs["y"].arguments[0].name
    for name in ("y", "transpose_x", "transpose_y"):
        del operation.inputs[name]
    width = slots[slot].shape[0]
    operation.type = "linear"
    operation.inputs["weight"].arguments.add().name = slot
    operation.inputs["bias"].arguments.add().name = _bias_name(width)
    return width


def _refuse_other_uses(block: Any, slots: Mapping[str, Matrix]) -> None:
    for operation in block.operations:
        for name, binding in operation.inputs.items():
            for argument in binding.arguments:
                if argument.name in slots and (operation.type, name) not in USES:
                    raise LoweringError(
                        weight_name(argument.name),
                        f"is input {name!r} of a {operation.type}, which takes no compressed weight",
                        "this is a bug in gemma-export; report it",
                    )


def _names_used(block: Any) -> set[str]:
    used = set(block.outputs)
    for operation in block.operations:
        for binding in operation.inputs.values():
            used.update(argument.name for argument in binding.arguments)
    return used


def _move_constants(operation: Any, source: Path, weights: _Weights) -> None:
    """Lay the operation's payloads out in the new weight file, straight from the converter's."""
    values = list(operation.attributes.values())
    for binding in operation.inputs.values():
        values += [argument.value for argument in binding.arguments if argument.HasField("value")]
    for value in values:
        if value.HasField("blobFileValue"):
            blob = _small_blob(operation.outputs[0].name, source, value.blobFileValue.offset)
            value.blobFileValue.fileName = WEIGHT_FILE
            value.blobFileValue.offset = _placed(blob, weights)


def _small_blob(name: str, source: Path, at: int) -> Blob:
    """The payload of the converter's file whose record is there."""
    with source.open("rb") as file:
        file.seek(at)
        sentinel, code, nbytes, start, _ = RECORD.unpack(file.read(RECORD.size))
    if sentinel != SENTINEL:
        raise LoweringError(
            source, f"no payload record at {at}", "coremltools changed its format; use version 9"
        )
    element = next(element for element in Element if element.blob == code)
    return Blob(name, element, nbytes, _from_file(source, start, nbytes))


def _placed(blob: Blob, weights: _Weights) -> int:
    """Where a small constant is in the new file: where one of its bytes is, if it may share."""
    digest = hashlib.sha256()
    for piece in blob.pieces():
        digest.update(piece)
    key = (blob.element, digest.digest())
    if not weights.sharing or key not in weights.small:
        weights.small[key] = weights.file.add(blob)
    return weights.small[key]


def _from_file(source: Path, start: int, nbytes: int) -> Callable[[], Iterator[bytes]]:
    return lambda: file_pieces(source, start, nbytes)


def _zero_bias(operation: Any, width: int, weights: BlobWriter) -> None:
    """`linear`'s bias, which coremltools always writes; one for all linears of a width."""
    _name(operation, "const", _bias_name(width), Element.FLOAT16, (width,))
    blob = Blob(_bias_name(width), Element.FLOAT16, width * 2, one_piece(bytes(width * 2)))
    _reference(operation.attributes["val"], Element.FLOAT16, (width,), weights.add(blob))


def _bias_name(width: int) -> str:
    return f"zero_bias_{width}"


def _constant(operation: Any, slot: str, matrix: Matrix, weights: BlobWriter) -> None:
    rows, inputs = matrix.shape
    match matrix:
        case FloatMatrix():
            _name(operation, "const", slot, Element.FLOAT16, matrix.shape)
            blob = Blob(slot, Element.FLOAT16, rows * inputs * 2, _stored(matrix))
            _reference(operation.attributes["val"], Element.FLOAT16, matrix.shape, weights.add(blob))
        case IntegerMatrix():
            _name(operation, "constexpr_blockwise_shift_scale", slot, Element.FLOAT16, matrix.shape)
            bits = matrix.scheme.bits
            element = Element.INT8 if bits == 8 else Element.INT4
            codes = Blob(slot, element, rows * inputs * bits // 8, _codes(matrix))
            _reference(_input(operation, "data"), element, matrix.shape, weights.add(codes))
            shape = (rows, matrix.scheme.groups(inputs))
            scales = Blob(f"{slot} scales", Element.FLOAT16, math.prod(shape) * 2, _scales(matrix))
            _reference(_input(operation, "scale"), Element.FLOAT16, shape, weights.add(scales))
            if matrix.scheme.zero_points:
                nbytes = -(-math.prod(shape) * bits // 8)
                unused = nbytes * 8 - math.prod(shape) * bits
                offsets = Blob(f"{slot} offsets", element, nbytes, _offsets(matrix), unused)
                _reference(_input(operation, "offset"), element, shape, weights.add(offsets))


def _stored(matrix: FloatMatrix) -> Callable[[], Iterator[memoryview]]:
    return lambda: (_bytes(matrix.stored(*rows)) for rows in row_chunks(matrix))


def _codes(matrix: IntegerMatrix) -> Callable[[], Iterator[memoryview]]:
    bits = matrix.scheme.bits
    return lambda: (_bytes(as_twos_complement(matrix.packed(*rows), bits)) for rows in row_chunks(matrix))


def _scales(matrix: IntegerMatrix) -> Callable[[], Iterator[memoryview]]:
    return lambda: (_bytes(matrix.scales(*rows)) for rows in row_chunks(matrix))


def _offsets(matrix: IntegerMatrix) -> Callable[[], Iterator[memoryview]]:
    """Zero points, whose rows follow each other without a gap, as those of all tensors do: a row need not
    begin with a byte, so that `OFFSET_ROWS` are packed at once."""
    rows, scheme = matrix.shape[0], matrix.scheme

    def pieces() -> Iterator[memoryview]:
        for start in range(0, rows, OFFSET_ROWS):
            found = matrix.zero_points(start, min(rows, start + OFFSET_ROWS))
            assert found is not None  # the scheme has zero points
            filling = np.zeros(-found.size % (8 // scheme.bits), np.int8)
            flat = np.concatenate([found.reshape(-1), filling])[None]
            yield _bytes(as_twos_complement(pack(flat, scheme.bits), scheme.bits))

    return pieces


def _bytes(rows: NDArray[Any]) -> memoryview:
    return np.ascontiguousarray(rows).data.cast("B")


def _input(operation: Any, name: str) -> Any:
    return operation.inputs[name].arguments.add().value


def _name(operation: Any, kind: str, name: str, element: Element, shape: tuple[int, ...]) -> None:
    operation.type = kind
    output = operation.outputs.add()
    output.name = name
    _tensor_type(output.type, element, shape)
    label = operation.attributes["name"]
    label.type.tensorType.dataType = 2  # MIL's STRING
    label.immediateValue.tensor.strings.values.append(name)


def _reference(value: Any, element: Element, shape: tuple[int, ...], offset: int) -> None:
    _tensor_type(value.type, element, shape)
    value.blobFileValue.fileName = WEIGHT_FILE
    value.blobFileValue.offset = offset


def _tensor_type(kind: Any, element: Element, shape: tuple[int, ...]) -> None:
    kind.tensorType.dataType = element.mil
    kind.tensorType.rank = len(shape)
    for size in shape:
        kind.tensorType.dimensions.add().constant.size = size
