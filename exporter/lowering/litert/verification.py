"""Checking a written file against the checkpoint it should hold, before anyone runs it.

Converters have left a layer in float without a word, and accelerators have computed wrong without one
what they seemed to take; this refuses such files. Not about numbers: that the codes are the checkpoint's
is proved by reading them back, that they compute right by running.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from ai_edge_litert import schema_py_generated as schema

from exporter.errors import LoweringError
from exporter.lowering.litert.declarations import Span, WrittenMatrix, same_matrix, text
from exporter.lowering.litert.reading import LiteRtFile, open_models
from exporter.lowering.litert.row_factors import FACTORS_SUFFIX
from exporter.lowering.litert.storage import FLOAT_TYPES, INTEGER_TYPES
from exporter.quantization.store.checkpoint import Matrix
from exporter.schemes import IntegerScheme, Scheme

_Op = schema.BuiltinOperator
WEIGHT_OPERAND = 1
USERS = {_Op.FULLY_CONNECTED: "FULLY_CONNECTED", _Op.EMBEDDING_LOOKUP: "EMBEDDING_LOOKUP"}
BROADCASTING = {
    _Op.ADD: "ADD",
    _Op.SUB: "SUB",
    _Op.MUL: "MUL",
    _Op.DIV: "DIV",
    _Op.MAXIMUM: "MAXIMUM",
    _Op.MINIMUM: "MINIMUM",
    _Op.FLOOR_DIV: "FLOOR_DIV",
    _Op.FLOOR_MOD: "FLOOR_MOD",
    _Op.EQUAL: "EQUAL",
    _Op.NOT_EQUAL: "NOT_EQUAL",
    _Op.GREATER: "GREATER",
    _Op.GREATER_EQUAL: "GREATER_EQUAL",
    _Op.LESS: "LESS",
    _Op.LESS_EQUAL: "LESS_EQUAL",
    _Op.SELECT: "SELECT",
    _Op.SELECT_V2: "SELECT_V2",
}
INTEGER_CONSTANTS = {schema.TensorType.INT32, schema.TensorType.INT64}


def verify_written(path: Path, planned: Mapping[str, Matrix]) -> None:
    """Raise LoweringError unless every matrix is there once, in its scheme's type, and is what is used.

    Two models of a bundle may use one weight, if they name the same bytes.
    """
    files = open_models(path)
    matrices = _united(path, files.values())
    if missing := sorted(set(planned) - set(matrices)):
        raise _wrong(path, f"weight {missing[0]} is not in the file")
    if unknown := sorted(set(matrices) - set(planned)):
        raise _wrong(path, f"holds a weight {unknown[0]} the checkpoint does not have")
    for name, matrix in planned.items():
        written = matrices[name]
        if written.shape != matrix.shape or not _has_scheme(written, matrix.scheme):
            raise _wrong(
                path,
                f"weight {name} was written as type {written.type} {list(written.shape)}, "
                f"planned as {matrix.scheme.name} {list(matrix.shape)}",
            )
    spans = sorted((span for matrix in matrices.values() for span in _spans(matrix)), key=_begin)
    if any(a.begin + a.nbytes > b.begin for a, b in itertools.pairwise(spans)):
        raise _wrong(path, "two weights share their bytes")
    for file in files.values():
        for subgraph in file.model.subgraphs:
            _verify_use(path, file, subgraph)
            _verify_broadcasts(path, file.model, subgraph)


def _united(path: Path, files: Iterable[LiteRtFile]) -> dict[str, WrittenMatrix]:
    """Every weight of several models."""
    matrices: dict[str, WrittenMatrix] = {}
    for file in files:
        for name, matrix in file.matrices.items():
            if not same_matrix(matrices.setdefault(name, matrix), matrix):
                raise _wrong(path, f"weight {name} is stored twice")
    return matrices


def _spans(matrix: WrittenMatrix) -> list[Span]:
    return [matrix.span] if matrix.block_scales is None else [matrix.span, matrix.block_scales]


def _begin(span: Span) -> int:
    return span.begin


def _verify_use(path: Path, file: LiteRtFile, subgraph: Any) -> None:
    """Weights are constants of the subgraph, every layer takes one of them, and what comes of those that
    have factors is multiplied with these and goes nowhere else."""
    names = [text(tensor.name) for tensor in subgraph.tensors]
    inputs = {names[index] for index in subgraph.inputs}
    if left := sorted(inputs & set(file.matrices)):
        raise _wrong(path, f"weight {left[0]} was left an input of {text(subgraph.name)}")
    source = {}  # result of a DEQUANTIZE to what it reads
    awaited: dict[int, str] = {}  # product to the name of its factors
    for node in subgraph.operators:
        for index in set(node.inputs.tolist()) & set(awaited):
            operands = {names[each] for each in node.inputs}
            code = file.model.operatorCodes[node.opcodeIndex].builtinCode
            if code != _Op.MUL or awaited[index] not in operands:
                raise _wrong(path, f"a product of {text(subgraph.name)} is used without {awaited[index]}")
        operator = file.model.operatorCodes[node.opcodeIndex].builtinCode
        if operator == _Op.DEQUANTIZE:
            source[int(node.outputs[0])] = int(node.inputs[0])
        elif operator in USERS:
            index = int(node.inputs[WEIGHT_OPERAND])
            if names[source.get(index, index)] not in file.matrices:
                raise _wrong(path, f"a {USERS[operator]} of {text(subgraph.name)} reads no stored weight")
            if file.matrices[names[source.get(index, index)]].row_factors is not None:
                awaited[int(node.outputs[0])] = names[index] + FACTORS_SUFFIX


def _verify_broadcasts(path: Path, model: Any, subgraph: Any) -> None:
    """Integer constants of several entries have as many axes as what they meet.

    LiteRT's GPU accelerator takes the first entry alone of one that has fewer, and says nothing
    (ai-edge-litert 2.3).
    """
    for node in subgraph.operators:
        operator = model.operatorCodes[node.opcodeIndex].builtinCode
        if operator not in BROADCASTING:
            continue
        operands = [subgraph.tensors[index] for index in node.inputs]
        rank = max(len(_sides(operand)) for operand in operands)
        for operand in operands:
            sides = _sides(operand)
            constant = operand.type in INTEGER_CONSTANTS and model.buffers[operand.buffer].data is not None
            if constant and max(sides, default=1) > 1 and len(sides) < rank:
                raise _wrong(
                    path,
                    f"{BROADCASTING[operator]} of {text(subgraph.name)} broadcasts the integer constant "
                    f"{text(operand.name)} {sides} over {rank} axes, which a GPU computes wrong",
                )


def _sides(tensor: Any) -> list[int]:
    return [] if tensor.shape is None else [int(side) for side in tensor.shape]


def _has_scheme(written: WrittenMatrix, scheme: Scheme) -> bool:
    if not isinstance(scheme, IntegerScheme):
        return bool(written.type == FLOAT_TYPES[scheme.bits])
    in_blocks = written.block_scales is not None
    return bool(written.type == INTEGER_TYPES[scheme.bits]) and (written.groups, in_blocks) == (
        scheme.groups(written.shape[1]),
        scheme.group is not None,
    )


def _wrong(path: Path, what: str) -> LoweringError:
    return LoweringError(path, what, "this is a fault of gemma-export; please report it")
