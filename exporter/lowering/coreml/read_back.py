"""Reading the matrices out of a written package, from its bytes alone.

The other half of a proof: what `binding` and `blob_file` wrote is parsed here with none of their code,
only with Apple's message schema and the documented record layout. Peak memory is a few row chunks.
"""

from __future__ import annotations

import os
import struct
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from exporter.errors import LoweringError
from exporter.lowering.coreml.quiet import quietly
from exporter.lowering.interface import StoredRows
from runtimes.excerpt import excerpt, plain_excerpt
from runtimes.inside import is_inside, is_plain_path
from runtimes.strict_json import read_json_object

CHUNK_BYTES = 8 << 20  # of stored codes read at once
FLOAT16, INT8, INT4 = 10, 21, 25  # MIL.proto, DataType
BITS = {FLOAT16: 16, INT8: 8, INT4: 4}
BLOB_CODES = {FLOAT16: 1, INT8: 4, INT4: 8}  # the same types in a payload record


@dataclass(frozen=True)
class _Payload:
    """A stored tensor [rows, columns]: its element type and where its bytes are."""

    file: Path
    start: int
    rows: int
    columns: int
    kind: int

    def read(self, start: int, stop: int) -> NDArray[Any]:
        """Rows start to stop: int8 codes or zero points, or float16."""
        bits = BITS[self.kind]
        first, last = start * self.columns * bits // 8, -(-stop * self.columns * bits // 8)
        with self.file.open("rb") as file:
            file.seek(self.start + first)
            raw = np.frombuffer(file.read(last - first), np.uint8)
        if self.kind == INT4:
            # Two's complement nibbles, the even one of the tensor in a byte's low half.
            both = (np.stack([raw << 4, raw & 0xF0], axis=-1).view(np.int8) >> 4).reshape(-1)
            begin = start * self.columns % 2
            return both[begin : begin + (stop - start) * self.columns].reshape(-1, self.columns)
        kind = np.float16 if self.kind == FLOAT16 else np.int8
        return raw.view(kind).reshape(stop - start, self.columns)


def read_matrices(package: Path) -> Iterator[StoredRows]:
    """Every matrix of the program, in its order, in chunks of rows.

    Raises LoweringError when the package is damaged or not of the layout this lowering writes.
    """
    model_path = _model_path(package)
    function = _parsed(model_path).mlProgram.functions["main"]
    try:
        for operation in function.block_specializations[function.opset].operations:
            name = operation.outputs[0].name.replace("__", ".") if operation.outputs else ""
            if operation.type == "constexpr_blockwise_shift_scale":
                data = _payload(model_path, operation.inputs["data"].arguments[0].value)
                scale = _payload(model_path, operation.inputs["scale"].arguments[0].value)
                offsets = operation.inputs["offset"].arguments if "offset" in operation.inputs else ()
                offset = _payload(model_path, offsets[0].value) if offsets else None
                yield from _integers(name, data, scale, offset)
            elif operation.type == "const" and "." in name:  # the converter's own have none
                yield from _floats(name, _payload(model_path, operation.attributes["val"]))
    except (ArithmeticError, LookupError, MemoryError, OSError, TypeError, ValueError) as error:
        # An operation without its argument, a tensor that is no matrix, a file cut while it is read.
        raise _damaged(model_path, f"contradicts itself ({plain_excerpt(error)})") from error


def _model_path(package: Path) -> Path:
    """Where the manifest says the model is. Raises LoweringError for a place outside the package."""
    manifest_path = package / "Manifest.json"
    try:
        manifest = read_json_object(manifest_path)
        place = manifest["itemInfoEntries"][manifest["rootModelIdentifier"]]["path"]
        if not is_plain_path(place):
            raise ValueError(f"{place!r} is outside the package")
        return _inside(package, package / "Data" / place)
    except (OSError, ValueError, LookupError, TypeError, AttributeError) as error:
        raise _damaged(
            manifest_path, f"cannot be read as a package's manifest ({plain_excerpt(error)})"
        ) from error


def _parsed(model_path: Path) -> Any:
    """The model's message, which holds a program with operations."""
    with quietly():
        from coremltools.proto import Model_pb2
        from google.protobuf.message import DecodeError

    model = Model_pb2.Model()
    try:
        model.ParseFromString(model_path.read_bytes())
    except (OSError, DecodeError) as error:
        raise _damaged(model_path, f"cannot be read as a Core ML model ({error})") from error
    if "main" not in model.mlProgram.functions:  # no bytes at all are a valid message too
        raise _damaged(model_path, "holds no program")
    return model


def _inside(directory: Path, path: Path) -> Path:
    """The path, if it is in the directory once links are followed. Raises ValueError."""
    if not is_inside(directory, path):
        raise ValueError(f"{path} is outside {directory}")
    return path


def _damaged(path: Path, what: str) -> LoweringError:
    return LoweringError(path, what, "the package is damaged; export again")


def _integers(name: str, data: _Payload, scale: _Payload, offset: _Payload | None) -> Iterator[StoredRows]:
    if offset is not None and (offset.kind, offset.rows) != (data.kind, data.rows):
        raise ValueError(f"{name} has offsets of MIL type {offset.kind}, [{offset.rows}, {offset.columns}]")
    for start, stop in _chunks(data):
        scales = scale.read(start, stop).astype(np.float32)
        zero_points = None if offset is None else offset.read(start, stop)
        yield StoredRows(name, start, data.read(start, stop), scales, None, zero_points)


def _floats(name: str, values: _Payload) -> Iterator[StoredRows]:
    for start, stop in _chunks(values):
        yield StoredRows(name, start, None, None, values.read(start, stop).astype(np.float32))


def _chunks(payload: _Payload) -> Iterator[tuple[int, int]]:
    step = max(1, CHUNK_BYTES // payload.columns)
    for start in range(0, payload.rows, step):
        yield start, min(payload.rows, start + step)


def _payload(model: Path, value: Any) -> _Payload:
    kind = value.type.tensorType
    rows, columns = (dimension.constant.size for dimension in kind.dimensions)
    reference = value.blobFileValue
    place = reference.fileName.removeprefix("@model_path/")
    if not is_plain_path(place):
        raise _damaged(model, f"has weights at {excerpt(place)}, outside the package")
    path = model.parent / place
    try:
        with _inside(model.parent, path).open("rb") as file:
            file.seek(reference.offset)
            sentinel, code, nbytes, start, _ = struct.unpack("<IIQQQ", file.read(32))
            size = file.seek(0, os.SEEK_END)
    except (OSError, ValueError, OverflowError, struct.error) as error:
        raise _damaged(path, f"no record can be read at {reference.offset} ({error})") from error
    bits = BITS.get(kind.dataType, 0)
    if (
        sentinel != 0xDEADBEEF
        or code != BLOB_CODES.get(kind.dataType)
        or nbytes != -(-rows * columns * bits // 8)
        or start + nbytes > size
    ):
        raise _damaged(
            path, f"the record at {reference.offset} is not {rows} x {columns} of MIL type {kind.dataType}"
        )
    return _Payload(path, start, rows, columns, kind.dataType)
