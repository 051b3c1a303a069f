"""Reading every matrix back out of a written artifact, as the graph's operators will see it.

Codes and zero points are bytes of the file, of a symmetric scheme one less the other; scales are the file's
own, per block: nothing is taken from the checkpoint or the writer's layout. Not about whether they are
right; the caller compares.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray

from exporter.errors import LoweringError
from exporter.lowering.interface import StoredRows
from exporter.lowering.onnx import web_operators
from exporter.lowering.onnx.artifact_file import ArtifactFile, attributes, operators_of
from exporter.schemes import SCHEMES, IntegerScheme
from runtimes.excerpt import plain_excerpt

CHUNK_BYTES = 8 << 20  # of codes read at once


@dataclass(frozen=True)
class IntegerOperand:
    """An integer matrix as one operator reads it: its initializers and their meaning.

    zeros: None where the operator itself takes the taken_off of the codes off. halved: codes of 8 bits as
    halves of 4 (`web_operators`). inputs: of a row that may not fill its last block, None where it does.
    """

    codes: str
    scales: str
    zeros: str | None
    bits: int
    block: int
    halved: bool = False
    inputs: int | None = None

    @staticmethod
    def of(node: onnx.NodeProto) -> IntegerOperand | None:
        """What a node multiplies with or looks up in; None for operators that read no integers."""
        given = attributes(node)
        match node.op_type:
            case "MatMulNBits":
                _, codes, scales, zeros = node.input[:4]
                bits, block = given["bits"], given["block_size"]
                return IntegerOperand(codes, scales, zeros, bits, block, inputs=given["K"])
            case "GatherBlockQuantized":
                codes, _, scales, zeros = node.input[:4]
                return IntegerOperand(codes, scales, zeros, given["bits"], given["block_size"])
            case web_operators.MULTIPLY_HALVES:
                _, codes, scales, zeros = node.input
                return IntegerOperand(codes, scales, zeros, 8, given["block_size"], halved=True)
            case web_operators.LOOK_UP_HALVES:
                codes, _, scales = node.input
                return IntegerOperand(codes, scales, None, 8, given["grouping"][-1], halved=True)
            case web_operators.LOOK_UP_HALVES_LESS_ZEROS:
                codes, _, scales, zeros = node.input
                return IntegerOperand(codes, scales, zeros, 8, given["grouping"][-1], halved=True)
            case web_operators.LOOK_UP_4_BITS_LESS_ZEROS:
                codes, _, scales, zeros = node.input
                return IntegerOperand(codes, scales, zeros, 4, given["grouping"][-1])
            case web_operators.LOOK_UP_4_BITS:
                codes, _, scales = node.input
                return IntegerOperand(codes, scales, None, 4, given["grouping"][-1])
            case _:
                return None

    def chunks(self, file: ArtifactFile, first: int, rows: int) -> Iterator[tuple[int, int]]:
        """Rows `first` on, as ranges to be read at once."""
        row = len(file.rows(self.codes, first, first + 1)[0])
        step = max(1, CHUNK_BYTES // row)
        for start in range(first, first + rows, step):
            yield start, min(first + rows, start + step)

    def values(self, file: ArtifactFile, start: int, stop: int) -> NDArray[np.float32]:
        """Rows of the matrix, [rows, in]."""
        codes, zeros, scales = self.parts(file, start, stop)
        values = (codes - zeros[:, :, None]).astype(np.float32) * scales[:, :, None]
        return values.reshape(len(values), -1)[:, : self.inputs]

    def parts(
        self, file: ArtifactFile, start: int, stop: int
    ) -> tuple[NDArray[np.int16], NDArray[np.int16], NDArray[np.float32]]:
        """Codes from 0 on, [rows, blocks, block], zero points likewise and scales, [rows, blocks]."""
        bits = 4 if self.halved else self.bits
        stored, scales = (
            _unpacked(file.rows(self.codes, start, stop), bits),
            file.rows(self.scales, start, stop),
        )
        blocks = stored.shape[1] // self.block
        codes = stored.reshape(len(stored), blocks, self.block)
        if self.zeros is not None:
            zeros = _unpacked(file.rows(self.zeros, start, stop), bits)[:, :blocks]
        elif self.halved:
            zeros = np.tile(np.repeat(np.array([8, 0], np.int16), blocks // 2), (len(stored), 1))
        else:
            zeros = np.full((len(stored), blocks), 1 << (bits - 1), np.int16)
        if not self.halved:
            return codes, zeros, scales
        sixteen_scales, scales = np.split(scales, 2, axis=1)
        if (sixteen_scales != 16 * scales).any():
            raise ValueError(f"{self.scales}: upper halves of codes have other scales than lower ones")
        (upper, lower), (zero_upper, zero_lower) = (np.split(each, 2, axis=1) for each in (codes, zeros))
        return 16 * upper + lower, 16 * zero_upper + zero_lower, scales


def read_back(path: Path) -> Iterator[StoredRows]:
    """Rows of every matrix the graph reads, in the graph's order; bytes read by two operators once.

    Raises LoweringError where the file contradicts itself.
    """
    file = ArtifactFile.open(path)
    with contradictions_named(path):
        yield from _matrices(file)


@contextmanager
def contradictions_named(path: Path) -> Iterator[None]:
    """Turn what reading a file that contradicts itself comes to into LoweringError."""
    try:
        yield
    except (ArithmeticError, LookupError, MemoryError, OSError, TypeError, ValueError) as error:
        # An operator without its inputs, shapes that do not divide, a file cut while it is read.
        raise LoweringError(path, f"contradicts itself ({plain_excerpt(error)})", "export again") from error


def _matrices(file: ArtifactFile) -> Iterator[StoredRows]:
    seen: set[tuple[object, ...]] = set()
    # A table that is multiplied with too is read there: the matmul has zero points of its own.
    for node in sorted(operators_of(file.model).node, key=_takes_zeros_off):
        operand = IntegerOperand.of(node)
        if operand is None:
            for name in node.input:
                if file.origins(name) and _first_sight(file, seen, name):
                    yield from _float_rows(file, name)
        elif operand.zeros is None:
            if _first_sight(file, seen, operand.codes, operand.scales):
                yield from _integer_rows(file, operand)
        elif _first_sight(file, seen, operand.codes, operand.scales, operand.zeros):
            seen.add(_places(file, operand.codes, operand.scales))
            yield from _integer_rows(file, operand)


def _takes_zeros_off(node: onnx.NodeProto) -> bool:
    operand = IntegerOperand.of(node)
    return operand is not None and operand.zeros is None


def _first_sight(file: ArtifactFile, seen: set[tuple[object, ...]], *names: str) -> bool:
    places = _places(file, *names)
    if places in seen:
        return False
    seen.add(places)
    return True


def _places(file: ArtifactFile, *names: str) -> tuple[object, ...]:
    return tuple(file.external(name) for name in names)


def _float_rows(file: ArtifactFile, name: str) -> Iterator[StoredRows]:
    first = 0
    for origin in file.origins(name):
        inputs = file.initializers[name].dims[1]
        step = max(1, CHUNK_BYTES // (4 * inputs))
        for start in range(0, origin.rows, step):
            stop = min(origin.rows, start + step)
            values = file.rows(name, first + start, first + stop).astype(np.float32)
            yield StoredRows(origin.weight, start, None, None, values)
        first += origin.rows


def _integer_rows(file: ArtifactFile, operand: IntegerOperand) -> Iterator[StoredRows]:
    first = 0
    for origin in file.origins(operand.codes):
        scheme = SCHEMES.get(origin.scheme)
        if not isinstance(scheme, IntegerScheme) or scheme.bits != operand.bits:
            raise LoweringError(
                file.path,
                f"{origin.weight} is said to be {origin.scheme}, {operand.bits} bits",
                "export again",
            )
        for start, stop in operand.chunks(file, first, origin.rows):
            codes, zeros, scales = operand.parts(file, start, stop)
            inputs = operand.inputs or codes.shape[1] * codes.shape[2]
            groups = scheme.groups(inputs)
            zero_points = None
            if scheme.zero_points:
                middle = np.int16(1 << (scheme.bits - 1))
                zero_points = _per_group(file, origin.weight, zeros - middle, groups).astype(np.int8)
                codes = codes - middle
            else:  # whatever is taken off a code is part of the code
                codes = codes - zeros[:, :, None]
            yield StoredRows(
                origin.weight,
                start - first,
                codes.reshape(len(codes), -1)[:, :inputs].astype(np.int8),
                _per_group(file, origin.weight, scales, groups),
                None,
                zero_points,
            )
        first += origin.rows


def _unpacked(packed: NDArray[np.uint8], bits: int) -> NDArray[np.int16]:
    """Elements of packed rows, the first of a byte in its low bits."""
    places = np.arange(0, 8, bits, dtype=np.uint8)
    elements = packed[:, :, None] >> places & np.uint8((1 << bits) - 1)
    return elements.reshape(len(packed), -1).astype(np.int16)


def _per_group(file: ArtifactFile, weight: str, of_blocks: NDArray[Any], groups: int) -> NDArray[Any]:
    """Scales or zero points [rows, blocks] to [rows, groups]: blocks of one group must agree."""
    grouped = of_blocks.reshape(len(of_blocks), groups, -1)
    if (grouped != grouped[:, :, :1]).any():
        raise LoweringError(
            file.path,
            f"{weight}: blocks that share a scale hold different ones, or different zero points",
            "export again",
        )
    return np.ascontiguousarray(grouped[:, :, 0])
