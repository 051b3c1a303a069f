"""A written model's graph with every multiplied weight in fp32, large ones in slices of their rows.

Steps of `float_graph`, for each signature:
  (1) FULLY_CONNECTED reads a float tensor in place of the stored one; a weight above the limit becomes
      several, each with some of the rows, and a CONCATENATION of what they give
  (2) widening a stored float16 weight is dropped: its float tensor holds the same values
  (3) a table that is added whole is read as that float tensor too
A table that is looked up stays as it is stored: EMBEDDING_LOOKUP gives code times scale, GATHER float16.
Holds no weight's data. Not about which part is run when (`stages`).
"""

from __future__ import annotations

import copy
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from ai_edge_litert import schema_py_generated as schema

from exporter.errors import LoweringError
from exporter.lowering.litert.declarations import Span, WrittenMatrix, text
from exporter.lowering.litert.graph import scales_of
from exporter.lowering.litert.reading import LiteRtFile

_Op = schema.BuiltinOperator
_LOOKUPS = {_Op.EMBEDDING_LOOKUP, _Op.GATHER}
FLOAT_BYTES = 4
INPUT, WEIGHT = 0, 1  # operands of FULLY_CONNECTED


@dataclass(frozen=True)
class WeightSlice:
    """Rows start to stop of a stored weight, as float32."""

    matrix: WrittenMatrix
    start: int
    stop: int

    @property
    def nbytes(self) -> int:
        return (self.stop - self.start) * self.matrix.shape[1] * FLOAT_BYTES


@dataclass(frozen=True)
class FloatSignature:
    """tensors, operators: of the schema. inputs, outputs: tensor to its name in the signature.

    stored: tensor to its bytes in the artifact, for weights and block scales as they are stored.
    """

    key: str
    tensors: list[Any]
    operators: list[Any]
    stored: Mapping[int, Span]
    inputs: Mapping[int, str]
    outputs: Mapping[int, str]


@dataclass(frozen=True)
class FloatGraph:
    """buffers: of the schema; tensors name them by index. pieces: buffer to what it is to hold."""

    file: LiteRtFile
    operator_codes: list[Any]
    buffers: list[Any]
    pieces: Mapping[int, WeightSlice]
    signatures: tuple[FloatSignature, ...]

    def operator(self, node: Any) -> int:
        """Its BuiltinOperator."""
        code: int = self.operator_codes[node.opcodeIndex].builtinCode
        return code


def float_graph(file: LiteRtFile, limit: int) -> FloatGraph:
    """limit: bytes of float32 one operator may multiply with, where its weight has more rows than one.

    Raises LoweringError for a stored weight that is neither multiplied with, added nor looked up.
    """
    maker = _Maker(file, limit)
    signatures = tuple(maker.signature(signature) for signature in file.model.signatureDefs)
    return FloatGraph(file, maker.operator_codes, maker.buffers, maker.pieces, signatures)


@dataclass
class _Maker:
    file: LiteRtFile
    limit: int
    pieces: dict[int, WeightSlice] = field(default_factory=dict)
    _buffers: dict[tuple[str, int], int] = field(default_factory=dict)  # by weight and first row

    def __post_init__(self) -> None:
        self.operator_codes = list(self.file.model.operatorCodes)
        self.buffers = list(self.file.model.buffers)

    def signature(self, signature: Any) -> FloatSignature:
        subgraph = self.file.model.subgraphs[signature.subgraphIndex]
        tensors, operators = list(subgraph.tensors), list[Any]()
        stored = {
            index: self.file.matrices[name]
            for index, tensor in enumerate(tensors)
            if (name := text(tensor.name)) in self.file.matrices
        }
        spans = {index: matrix.span for index, matrix in stored.items()}
        for index, matrix in stored.items():
            if (scales := scales_of(tensors[index])) is not None and matrix.block_scales is not None:
                spans[scales] = matrix.block_scales
        for node in subgraph.operators:
            operator = self.operator_codes[node.opcodeIndex].builtinCode
            read = [index for index in node.inputs.tolist() if index in stored]
            if operator == _Op.FULLY_CONNECTED and (weight := int(node.inputs[WEIGHT])) in stored:
                operators += self._multiplications(tensors, node, stored[weight])  # (1)
            elif operator == _Op.DEQUANTIZE and read:
                stored[int(node.outputs[0])] = stored[read[0]]  # (2)
            elif operator == _Op.ADD and read:
                operand = node.inputs.tolist().index(read[0])
                whole = WeightSlice(stored[read[0]], 0, stored[read[0]].shape[0])
                operators.append(_replaced(node, operand, self._float_tensor(tensors, whole)))  # (3)
            elif read and operator not in _LOOKUPS:
                name = stored[read[0]].name
                raise LoweringError(
                    self.file.path,
                    f"weight {name} is read by operator {operator}, which has no float form",
                    "this is a fault of gemma-export; please report it",
                )
            else:
                operators.append(node)
        return FloatSignature(
            text(signature.signatureKey),
            tensors,
            operators,
            spans,
            {entry.tensorIndex: text(entry.name) for entry in signature.inputs},
            {entry.tensorIndex: text(entry.name) for entry in signature.outputs},
        )

    def _multiplications(self, tensors: list[Any], node: Any, matrix: WrittenMatrix) -> Iterator[Any]:
        rows, inputs = matrix.shape
        step = max(1, self.limit // (inputs * FLOAT_BYTES))
        count = -(-rows // step)
        step = -(-rows // count)  # of about equal size
        if count == 1:
            yield _replaced(node, WEIGHT, self._float_tensor(tensors, WeightSlice(matrix, 0, rows)))
            return
        whole = tensors[int(node.outputs[0])]
        results = []
        for start in range(0, rows, step):
            piece = WeightSlice(matrix, start, min(rows, start + step))
            part = _replaced(node, WEIGHT, self._float_tensor(tensors, piece))
            result = copy.copy(whole)
            result.name = f"{text(whole.name)}.{start}"
            result.shape = np.array([*whole.shape[:-1], piece.stop - start], np.int32)
            results.append(_append(tensors, result))
            part.outputs = np.array(results[-1:], np.int32)
            yield part
        joined = schema.OperatorT()
        joined.opcodeIndex = self._concatenation()
        joined.inputs, joined.outputs = np.array(results, np.int32), node.outputs
        joined.builtinOptionsType = schema.BuiltinOptions.ConcatenationOptions
        joined.builtinOptions = schema.ConcatenationOptionsT()
        joined.builtinOptions.axis = len(whole.shape) - 1
        yield joined

    def _float_tensor(self, tensors: list[Any], piece: WeightSlice) -> int:
        """Index of a new tensor for the piece; signatures share its buffer."""
        key = piece.matrix.name, piece.start
        if key not in self._buffers:
            self._buffers[key] = _append(self.buffers, schema.BufferT())
            self.pieces[self._buffers[key]] = piece
        tensor = schema.TensorT()
        tensor.name, tensor.hasRank, tensor.type = piece.matrix.name, True, schema.TensorType.FLOAT32
        tensor.shape = np.array([piece.stop - piece.start, piece.matrix.shape[1]], np.int32)
        tensor.buffer = self._buffers[key]
        return _append(tensors, tensor)

    def _concatenation(self) -> int:
        codes = [code.builtinCode for code in self.operator_codes]
        if _Op.CONCATENATION not in codes:
            code = schema.OperatorCodeT()
            code.builtinCode = code.deprecatedBuiltinCode = _Op.CONCATENATION
            code.version = 1
            self.operator_codes.append(code)
            codes.append(_Op.CONCATENATION)
        return codes.index(_Op.CONCATENATION)


def _replaced(node: Any, operand: int, index: int) -> Any:
    """The operator with another tensor for an operand."""
    changed = copy.copy(node)
    changed.inputs = node.inputs.copy()
    changed.inputs[operand] = index
    return changed


def _append(items: list[Any], item: Any) -> int:
    items.append(item)
    return len(items) - 1
