"""Writing a graph whose initializers point into data files, its own or another graph's.

Not about which graphs there are (`lowering`, `multimodal_graphs`) or what the data is (`external_data`).
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from onnx import TensorProto, helper

from exporter.errors import LoweringError
from exporter.lowering.onnx.artifact_file import WEIGHTS_KEY
from exporter.lowering.onnx.external_data import ByteRange
from exporter.lowering.onnx.graph_builder import GraphBuilder
from exporter.lowering.onnx.stored_tensors import (
    CodeBytes,
    Content,
    DataTensor,
    FilledCodeBytes,
    FloatBytes,
    HalvedCodeBytes,
)
from exporter.quantization.store.checkpoint import Matrix, QuantizedCheckpoint
from exporter.schemes import IntegerScheme

METADATA = "gemma_export."
FLOAT_ARITHMETIC = "fp32"


@dataclass(frozen=True)
class DataFile:
    """A data file beside a graph, and where in it what lies."""

    name: str
    ranges: Mapping[Content, ByteRange]


def write_graph(
    path: Path,
    graph: GraphBuilder,
    files: Sequence[DataFile],
    checkpoint: QuantizedCheckpoint,
    metadata: Mapping[str, str],
) -> None:
    """Write a graph; each of its tensors lies in the first of the files that holds it."""
    model = graph.model([_pointer(tensor, files, checkpoint) for tensor in graph.stored.values()])
    helper.set_model_props(model, {f"{METADATA}{key}": value for key, value in metadata.items()})
    path.write_bytes(model.SerializeToString(deterministic=True))


def arithmetic_of(matrices: Mapping[str, Matrix], of_integers: str) -> str:
    """What a graph of these matrices does to activations."""
    integers = any(isinstance(matrix.scheme, IntegerScheme) for matrix in matrices.values())
    return of_integers if integers else FLOAT_ARITHMETIC


def initializer(
    tensor: DataTensor, location: str, place: ByteRange, checkpoint: QuantizedCheckpoint
) -> TensorProto:
    """A tensor whose data is a range of a data file."""
    found = TensorProto(
        name=tensor.name,
        data_type=helper.np_dtype_to_tensor_dtype(np.dtype(tensor.dtype)),
        dims=tensor.shape,
        data_location=TensorProto.EXTERNAL,
    )
    for key, value in (("location", location), ("offset", place.offset), ("length", place.length)):
        found.external_data.add(key=key, value=str(value))
    if origin := _origin(tensor, checkpoint):
        found.metadata_props.add(key=WEIGHTS_KEY, value=origin)
    return found


def _pointer(tensor: DataTensor, files: Sequence[DataFile], checkpoint: QuantizedCheckpoint) -> TensorProto:
    for file in files:
        if tensor.content in file.ranges:
            return initializer(tensor, file.name, file.ranges[tensor.content], checkpoint)
    raise LoweringError(
        tensor.name,
        f"is in none of {', '.join(file.name for file in files)}",
        "this is a defect of gemma-export, report it",
    )


def _origin(tensor: DataTensor, checkpoint: QuantizedCheckpoint) -> str | None:
    """Which matrices a stored tensor holds, for whoever reads the file: [[name, rows, scheme], ...]."""
    match tensor.content:
        case CodeBytes(weights) | FilledCodeBytes(weights) | HalvedCodeBytes(weights) | FloatBytes(weights):
            matrices = [checkpoint.matrices[name] for name in weights]
            return json.dumps([[matrix.name, matrix.shape[0], matrix.scheme.name] for matrix in matrices])
        case _:
            return None
