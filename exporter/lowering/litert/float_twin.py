"""The float twin of a written LiteRT file: the same graph, integer weights replaced by their values.

Made from the artifact's own bytes, so a fault in its codes or scales is in the twin too. Weights that
are floating point already stay as they are. Streamed: peak memory is a few row chunks.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
from ai_edge_litert import schema_py_generated as schema
from numpy.typing import NDArray

from exporter.lowering.litert.graph import keep_tensors
from exporter.lowering.litert.reading import FLOAT_DTYPES, LiteRtFile, WrittenMatrix, text
from exporter.lowering.litert.storage import ExternalData
from exporter.lowering.litert.writing import write_tflite


def write_float_twin(artifact: Path, out: Path) -> None:
    """Write the twin of a .tflite, or of the model in a .litertlm, as a .tflite. Raises LoweringError."""
    file = LiteRtFile.open(artifact)
    model, integers = (
        file.model,
        {name for name, matrix in file.matrices.items() if matrix.type not in FLOAT_DTYPES},
    )
    buffers: dict[str, int] = {}
    for signature in model.signatureDefs:
        subgraph = model.subgraphs[signature.subgraphIndex]
        for tensor in subgraph.tensors:
            name = text(tensor.name)
            if name not in file.matrices:
                continue
            buffers[name] = tensor.buffer
            if name in integers:
                tensor.type, tensor.quantization = schema.TensorType.FLOAT32, None
        _drop_scales(subgraph, signature)
    for buffer in model.buffers:  # places are those of the artifact until writing sets them anew
        buffer.offset = buffer.size = 0
    external = [
        ExternalData(
            buffer,
            math.prod(file.matrices[name].shape) * 4
            if name in integers
            else file.matrices[name].span.nbytes,
            _values(file, file.matrices[name]) if name in integers else _bytes(file, file.matrices[name]),
        )
        for name, buffer in buffers.items()
    ]
    with out.open("wb") as written:
        write_tflite(model, external, written, lambda done, total: None)


def _drop_scales(subgraph: Any, signature: Any) -> None:
    """Drop the tensors of block scales, which nothing names any more."""
    wanted = {int(index) for index in (*subgraph.inputs, *subgraph.outputs)}
    for node in subgraph.operators:
        wanted.update(int(index) for index in (*node.inputs, *node.outputs) if index >= 0)
    moved = keep_tensors(subgraph, wanted)
    subgraph.inputs = np.array([moved[int(index)] for index in subgraph.inputs], np.int32)
    subgraph.outputs = np.array([moved[int(index)] for index in subgraph.outputs], np.int32)
    for entry in (*signature.inputs, *signature.outputs):
        entry.tensorIndex = moved[entry.tensorIndex]


def _values(file: LiteRtFile, matrix: WrittenMatrix) -> Callable[[], Iterator[NDArray[Any]]]:
    return lambda: (file.values(matrix, start, stop) for start, stop in file.row_ranges(matrix))


def _bytes(file: LiteRtFile, matrix: WrittenMatrix) -> Callable[[], Iterator[NDArray[Any]]]:
    row = matrix.span.nbytes // matrix.shape[0]
    return lambda: (
        np.frombuffer(file.read(matrix.span.begin + start * row, (stop - start) * row), np.uint8)
        for start, stop in file.row_ranges(matrix)
    )
