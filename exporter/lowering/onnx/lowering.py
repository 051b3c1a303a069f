"""`OnnxLowering`: the quantised checkpoint as an ONNX graph, its data file and its neighbours.

Steps of `lower`:
  (1) trace the decoder; every stored tensor is an input of the graph
  (2) tidy the graph
  (3) write the data file, row chunk by row chunk
  (4) turn the inputs into initializers that point into it
  (5) write the graph, genai_config.json and the tokenizer files beside it
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from pathlib import Path

import numpy as np
import onnx_ir as ir

from exporter.errors import LoweringError
from exporter.lowering.interface import LoweringRequest, Progress, StoredRows
from exporter.lowering.onnx import float_twin, read_back
from exporter.lowering.onnx.external_data import ByteRange, lay_out, write_external_data
from exporter.lowering.onnx.genai_config import copy_tokenizer, write_genai_config
from exporter.lowering.onnx.graph_cleanup import clean_up
from exporter.lowering.onnx.stored_tensors import Codes, Content, Floats, Scales, StoredTensor
from exporter.lowering.onnx.trace import GraphRequest, TracedDecoder, trace
from exporter.planning.scheme import SCHEMES, IntegerScheme
from exporter.quantization.checkpoint import QuantizedCheckpoint
from runtimes.manifest import Artifact

DIRECTORY, GRAPH_NAME, DATA_NAME = "onnx", "model.onnx", "model.onnx.data"
IR_VERSION = 11  # onnx 1.18, which brought opset 23
METADATA = "gemma_export."
DIMENSIONS = {"input_ids": (1, "sequence_length"), "attention_mask": (1, "total_sequence_length")}
INTEGER_ARITHMETIC = "fp32; inputs of integer matmuls rounded to int8 per block"
FLOAT_ARITHMETIC = "fp32"


class OnnxLowering:
    """Satisfies `Lowering`. Peak memory: one trace and a few row chunks."""

    @property
    def schemes(self) -> frozenset[str]:
        return frozenset(SCHEMES)

    def lower(self, request: LoweringRequest, out: Path, progress: Progress) -> tuple[Artifact, ...]:
        if request.prefill_logits == "none":
            raise LoweringError(
                "prefill_logits", "an ONNX graph always returns logits", "ask for 'last' or 'all'"
            )
        checkpoint = request.checkpoint
        directory = out / DIRECTORY
        directory.mkdir()
        # (1)
        progress("trace", 0, 1)
        traced = trace(
            GraphRequest(
                checkpoint.spec, checkpoint.matrices, request.context, request.prefill_logits == "all"
            )
        )
        # (2)
        clean_up(traced.model)
        # (3)
        ranges = lay_out(traced.stored.values())
        write_external_data(directory / DATA_NAME, ranges, checkpoint, progress)
        # (4)
        _bind(traced, ranges, checkpoint)
        _describe(traced.model, request)
        # (5)
        ir.save(traced.model, directory / GRAPH_NAME)
        write_genai_config(request, GRAPH_NAME, directory)
        copy_tokenizer(request, directory)
        return (
            Artifact(
                format="onnx",
                path=f"{DIRECTORY}/{GRAPH_NAME}",
                context=request.context,
                vocab_size=checkpoint.spec.vocab_size,
                prefill_chunk=request.prefill_chunk,
                prefill_logits=request.prefill_logits,
            ),
        )

    def read_back(self, release: Path, artifact: Artifact) -> Iterator[StoredRows]:
        return read_back.read_back(release / artifact.path)

    def float_twin(self, release: Path, artifact: Artifact, out: Path) -> Artifact:
        return float_twin.float_twin(release, artifact, out)


def _bind(
    traced: TracedDecoder, ranges: Mapping[Content, ByteRange], checkpoint: QuantizedCheckpoint
) -> None:
    """Inputs that stand for stored tensors become initializers with external data."""
    graph = traced.model.graph
    for value in list(graph.inputs):
        tensor = traced.stored.get(value.name or "")
        if tensor is None:
            continue
        place = ranges[tensor.content]
        graph.inputs.remove(value)
        value.const_value = ir.ExternalTensor(
            DATA_NAME,
            place.offset,
            place.length,
            ir.DataType.from_numpy(np.dtype(tensor.dtype)),
            shape=ir.Shape(tensor.shape),
            name=tensor.name,
            metadata_props=_origin(tensor, checkpoint),
        )
        graph.register_initializer(value)


def _origin(tensor: StoredTensor, checkpoint: QuantizedCheckpoint) -> dict[str, str] | None:
    """Which matrices a stored tensor holds, for whoever reads the file: [[name, rows, scheme], ...]."""
    match tensor.content:
        case Codes(weights) | Floats(weights) | Scales(weights, _):
            matrices = [checkpoint.matrices[name] for name in weights]
            rows = [[matrix.name, matrix.shape[0], matrix.scheme.name] for matrix in matrices]
            return {f"{METADATA}weights": json.dumps(rows)}
        case _:
            return None


def _describe(model: ir.Model, request: LoweringRequest) -> None:
    """Names of dynamic sides, and what a driver wants to know of the file."""
    graph = model.graph
    for value in graph.inputs:
        name = str(value.name)
        if name in DIMENSIONS:
            value.shape = ir.Shape(DIMENSIONS[name])
        else:
            value.shape = _cache_shape(value, "past_sequence_length")
    for value in graph.outputs:
        if value.name == "logits":
            kept = "sequence_length" if request.prefill_logits == "all" else 1
            value.shape = ir.Shape((1, kept, request.checkpoint.spec.vocab_size))
        else:
            value.shape = _cache_shape(value, "total_sequence_length")
    integers = any(
        isinstance(matrix.scheme, IntegerScheme) for matrix in request.checkpoint.matrices.values()
    )
    model.metadata_props.update(
        {
            f"{METADATA}arithmetic": INTEGER_ARITHMETIC if integers else FLOAT_ARITHMETIC,
            f"{METADATA}context": str(request.context),
            f"{METADATA}prefill_chunk": str(request.prefill_chunk),
        }
    )
    model.ir_version = IR_VERSION


def _cache_shape(value: ir.Value, length: str) -> ir.Shape:
    assert value.shape is not None
    return ir.Shape((1, value.shape[1], length, value.shape[3]))
