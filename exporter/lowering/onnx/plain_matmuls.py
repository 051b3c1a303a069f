"""Integer matmuls as plain ones: the matrices of the artifact's own bytes, written once in fp32.

MatMulNBits dequantises its whole matrix at every call, which is most of a decode step; a plain matmul
reads what was dequantised once. A value is what the file says, code less zero point times scale: a fault
in the codes, the zero points or the scales stays in it.
Disk: four bytes per weight. Memory: a row chunk; whoever runs the graph holds the matrices.
Not about which models are small enough for that (`exporter.formats.onnx`).
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import helper

from exporter.errors import LoweringError
from exporter.lowering.onnx.artifact_file import ArtifactFile, attributes
from exporter.lowering.onnx.external_data import ALIGNMENT, ByteRange
from exporter.lowering.onnx.graph_builder import CONTRIB
from exporter.lowering.onnx.read_back import IntegerOperand, contradictions_named
from exporter.lowering.onnx.web_operators import MULTIPLY_HALVES

FLOAT_BYTES = 4
INTEGER_MATMULS = ("MatMulNBits", MULTIPLY_HALVES)  # x, codes, scales and zero points in, K and N given


def float_bytes(model: onnx.ModelProto) -> int:
    """What the integer matmuls' matrices take in fp32."""
    found = {_operand(node): attributes(node) for node in model.graph.node if _is_integer_matmul(node)}
    return sum(FLOAT_BYTES * given["N"] * given["K"] for given in found.values())


def with_plain_matmuls(file: ArtifactFile, data: Path) -> None:
    """Make every integer matmul of `file.model` a plain one.

    data: where its matrices are written, in the directory the graph will lie in. Raises LoweringError
    where the file contradicts itself.
    """
    graph = file.model.graph
    written: dict[IntegerOperand, onnx.TensorProto] = {}
    with contradictions_named(file.path), data.open("wb") as out:
        for node in graph.node:
            if not _is_integer_matmul(node):
                continue
            operand = _operand(node)
            if operand not in written:
                out.write(bytes(-out.tell() % ALIGNMENT))  # a runtime can map it there
                start = out.tell()
                for rows in _values(file, operand):
                    out.write(np.ascontiguousarray(rows).data)
                place = ByteRange(start, out.tell() - start)
                written[operand] = _initializer(f"matrix.{len(written)}", node, data.name, place)
            node.CopyFrom(_plain(node, written[operand].name))
    graph.initializer.extend(written.values())


def _is_integer_matmul(node: onnx.NodeProto) -> bool:
    return node.op_type in INTEGER_MATMULS


def _operand(node: onnx.NodeProto) -> IntegerOperand:
    operand = IntegerOperand.of(node)
    assert operand is not None
    return operand


def _values(file: ArtifactFile, operand: IntegerOperand) -> Iterator[NDArray[np.float32]]:
    """The matrix, [rows, in], a row chunk at a time."""
    for start, stop in operand.chunks(file, 0, file.initializers[operand.codes].dims[0]):
        yield operand.values(file, start, stop)


def _initializer(name: str, matmul: onnx.NodeProto, location: str, place: ByteRange) -> onnx.TensorProto:
    """What a matmul's matrix is in the graph, [out, in]."""
    given = attributes(matmul)
    shape = (given["N"], given["K"])
    if place.length != FLOAT_BYTES * shape[0] * shape[1]:
        raise LoweringError(
            matmul.name, f"multiplies with {place.length} bytes, not {list(shape)} in fp32", "export again"
        )
    found = onnx.TensorProto(
        name=name,
        data_type=onnx.TensorProto.FLOAT,
        dims=shape,
        data_location=onnx.TensorProto.EXTERNAL,
    )
    for key, value in (("location", location), ("offset", place.offset), ("length", place.length)):
        found.external_data.add(key=key, value=str(value))
    return found


def _plain(node: onnx.NodeProto, matrix: str) -> onnx.NodeProto:
    """x [1, tokens, in] times the transpose of a matrix [out, in]. ONNX's MatMul transposes nothing."""
    return helper.make_node(
        "FusedMatMul", [node.input[0], matrix], [node.output[0]], name=node.name, domain=CONTRIB, transB=1
    )
