"""`OnnxLowering`: the quantised checkpoint as an ONNX graph, its data file and its neighbours.

Steps of `lower`:
  (1) build the graph; its weights are named, not read
  (2) write the data file, row chunk by row chunk
  (3) write the graph with initializers that point into it
  (4) put genai_config.json and the tokenizer files beside it
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from onnx import TensorProto, helper

from exporter.errors import LoweringError
from exporter.lowering.interface import LoweringRequest, StoredRows
from exporter.lowering.onnx import float_twin, read_back
from exporter.lowering.onnx.artifact_file import WEIGHTS_KEY
from exporter.lowering.onnx.external_data import ByteRange, lay_out, write_external_data
from exporter.lowering.onnx.genai_config import copy_tokenizer, write_genai_config
from exporter.lowering.onnx.stored_tensors import Codes, Floats, StoredTensor
from exporter.lowering.onnx.trace import GraphRequest, trace
from exporter.progress import Progress
from exporter.quantization.store.checkpoint import QuantizedCheckpoint
from exporter.schemes import SCHEMES, IntegerScheme
from runtimes.manifest import Artifact

DIRECTORY, GRAPH_NAME, DATA_NAME = "onnx", "model.onnx", "model.onnx.data"
METADATA = "gemma_export."
INTEGER_ARITHMETIC = "fp32; inputs of 8-bit matmuls as two int8 parts, of 4-bit ones rounded to int8"
FLOAT_ARITHMETIC = "fp32"


class OnnxLowering:
    """Satisfies `Lowering`. Peak memory: one trace and a few row chunks."""

    @property
    def schemes(self) -> frozenset[str]:
        return frozenset(SCHEMES)

    @property
    def negative_scales(self) -> bool:
        return True

    def lower(self, request: LoweringRequest, out: Path, progress: Progress) -> tuple[Artifact, ...]:
        if request.prefill_logits == "none":
            raise LoweringError(
                "prefill_logits", "an ONNX graph always returns logits", "ask for 'last' or 'all'"
            )
        checkpoint = request.checkpoint
        directory = out / DIRECTORY
        directory.mkdir(exist_ok=True)
        # (1)
        progress("trace", 0, 1)
        graph = trace(
            GraphRequest(
                checkpoint.spec, checkpoint.matrices, request.context, request.prefill_logits == "all"
            )
        )
        # (2)
        ranges = lay_out(graph.stored.values())
        write_external_data(directory / DATA_NAME, ranges, checkpoint, progress)
        # (3)
        model = graph.model(
            [_initializer(tensor, ranges[tensor.content], checkpoint) for tensor in graph.stored.values()]
        )
        helper.set_model_props(model, _metadata(request))
        (directory / GRAPH_NAME).write_bytes(model.SerializeToString(deterministic=True))
        # (4)
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


def _initializer(tensor: StoredTensor, place: ByteRange, checkpoint: QuantizedCheckpoint) -> TensorProto:
    """A tensor whose data is a range of the data file."""
    found = TensorProto(
        name=tensor.name,
        data_type=helper.np_dtype_to_tensor_dtype(np.dtype(tensor.dtype)),
        dims=tensor.shape,
        data_location=TensorProto.EXTERNAL,
    )
    for key, value in (("location", DATA_NAME), ("offset", place.offset), ("length", place.length)):
        found.external_data.add(key=key, value=str(value))
    if origin := _origin(tensor, checkpoint):
        found.metadata_props.add(key=WEIGHTS_KEY, value=origin)
    return found


def _origin(tensor: StoredTensor, checkpoint: QuantizedCheckpoint) -> str | None:
    """Which matrices a stored tensor holds, for whoever reads the file: [[name, rows, scheme], ...]."""
    match tensor.content:
        case Codes(weights) | Floats(weights):
            matrices = [checkpoint.matrices[name] for name in weights]
            return json.dumps([[matrix.name, matrix.shape[0], matrix.scheme.name] for matrix in matrices])
        case _:
            return None


def _metadata(request: LoweringRequest) -> dict[str, str]:
    """What a driver wants to know of the file."""
    integers = any(
        isinstance(matrix.scheme, IntegerScheme) for matrix in request.checkpoint.matrices.values()
    )
    return {
        f"{METADATA}arithmetic": INTEGER_ARITHMETIC if integers else FLOAT_ARITHMETIC,
        f"{METADATA}context": str(request.context),
        f"{METADATA}prefill_chunk": str(request.prefill_chunk),
    }
