"""The float twin of a written LiteRT file: the same graphs, integer weights of layers replaced by values.

Made from the artifact's own bytes, so a fault in its codes or scales is in the twin too. Weights that
are floating point already stay as they are, and so do tables that are only looked up: reading a row
rounds nothing. Streamed: peak memory is a few row chunks.
"""

from __future__ import annotations

import math
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
from ai_edge_litert import schema_py_generated as schema
from litert_lm_builder.litertlm_header_schema_py_generated import AnySectionDataType
from numpy.typing import NDArray

from exporter.lowering.litert.container_writing import SectionSource, write_container
from exporter.lowering.litert.declarations import FLOAT_DTYPES, Span, WrittenMatrix, text
from exporter.lowering.litert.graph import keep_tensors, scales_of
from exporter.lowering.litert.reading import TEXT, LiteRtFile, open_models
from exporter.lowering.litert.storage import ExternalData
from exporter.lowering.litert.writing import write_tflite
from runtimes.litert.container import EMBEDDERS, PREFILL_DECODE
from runtimes.manifest import Format

TWIN_NAMES: dict[Format, str] = {"tflite": "twin.tflite", "litertlm": "twin.litertlm"}
PIECE = 32 << 20
WEIGHT_OPERAND = 1
MODEL_TYPES = {TEXT: PREFILL_DECODE, **{fills: model_type for model_type, fills in EMBEDDERS.items()}}


def write_float_twin(artifact: Path, out: Path) -> Format:
    """Write the twin under `out`: a .tflite, or a bundle of bare models where there are embedders.

    Returns its format, which TWIN_NAMES names the file by. Raises LoweringError.
    """
    files = open_models(artifact)
    if set(files) == {TEXT}:
        with (out / TWIN_NAMES["tflite"]).open("wb") as written:
            _write(files[TEXT], written)
        return "tflite"
    sections = [
        SectionSource(AnySectionDataType.TFLiteModel, (("model_type", MODEL_TYPES[what]),), _writer(file))
        for what, file in files.items()
    ]
    write_container(out / TWIN_NAMES["litertlm"], sections, uuid.UUID(int=0))
    return "litertlm"


def _writer(file: LiteRtFile) -> Callable[[BinaryIO], None]:
    return lambda written: _write(file, written)


def _write(file: LiteRtFile, written: BinaryIO) -> None:
    model = file.model
    _take_inside(model)
    integers = {name for name, matrix in file.matrices.items() if matrix.type not in FLOAT_DTYPES}
    widened = integers & _multiplied(model)
    data: dict[int, ExternalData] = {}
    for signature in model.signatureDefs:
        subgraph = model.subgraphs[signature.subgraphIndex]
        for tensor in subgraph.tensors:
            if (matrix := file.matrices.get(text(tensor.name))) is None:
                continue
            if matrix.name in widened:
                tensor.type, tensor.quantization = schema.TensorType.FLOAT32, None
                nbytes = math.prod(matrix.shape) * 4
                data[tensor.buffer] = ExternalData(tensor.buffer, nbytes, _values(file, matrix))
                continue
            data[tensor.buffer] = _as_it_is(file, tensor.buffer, matrix.span)
            scales = scales_of(tensor)
            if scales is not None and matrix.block_scales is not None:
                buffer = subgraph.tensors[scales].buffer
                data[buffer] = _as_it_is(file, buffer, matrix.block_scales)
        _drop_scales(subgraph, signature)
    for buffer in model.buffers:  # places are those of the artifact until writing sets them anew
        buffer.offset = buffer.size = 0
    write_tflite(model, list(data.values()), written, lambda done, total: None)


def _take_inside(model: Any) -> None:
    """Give tensors that name bytes outside the model a buffer in it."""
    buffers: dict[int, int] = {}
    for subgraph in model.subgraphs:
        for tensor in subgraph.tensors:
            if tensor.externalBuffer:
                if tensor.externalBuffer not in buffers:
                    model.buffers.append(schema.BufferT())
                    buffers[tensor.externalBuffer] = len(model.buffers) - 1
                tensor.buffer, tensor.externalBuffer = buffers[tensor.externalBuffer], 0
    model.externalBuffers = model.externalBufferGroups = None


def _multiplied(model: Any) -> set[str]:
    """Names of the tensors that layers multiply by."""
    return {
        text(subgraph.tensors[node.inputs[WEIGHT_OPERAND]].name)
        for subgraph in model.subgraphs
        for node in subgraph.operators
        if model.operatorCodes[node.opcodeIndex].builtinCode == schema.BuiltinOperator.FULLY_CONNECTED
    }


def _drop_scales(subgraph: Any, signature: Any) -> None:
    """Drop the tensors of block scales that nothing names any more."""
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


def _as_it_is(file: LiteRtFile, buffer: int, span: Span) -> ExternalData:
    return ExternalData(
        buffer,
        span.nbytes,
        lambda: (
            np.frombuffer(file.read(span.begin + done, min(PIECE, span.nbytes - done)), np.uint8)
            for done in range(0, span.nbytes, PIECE)
        ),
    )
