"""`OnnxLowering`: the quantised checkpoint as an ONNX graph, its data file and its neighbours.

Steps of `lower`:
  (1) build the graph; its weights are named, not read
  (2) write the data file, row chunk by row chunk
  (3) write the graph with initializers that point into it
  (4) put genai_config.json and the tokenizer files beside it
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
from onnx import TensorProto, helper

from exporter.errors import LoweringError
from exporter.formats.onnx import ONNX
from exporter.lowering.conversations import Conversation, Prompts
from exporter.lowering.interface import LoweringOrder, StoredRows
from exporter.lowering.onnx import float_twin, read_back
from exporter.lowering.onnx.artifact_file import WEIGHTS_KEY
from exporter.lowering.onnx.external_data import ByteRange, lay_out, write_external_data
from exporter.lowering.onnx.genai_config import copy_tokenizer, write_genai_config
from exporter.lowering.onnx.genai_prompts import genai_prompts
from exporter.lowering.onnx.stored_tensors import CodeBytes, DataTensor, FloatBytes
from exporter.lowering.onnx.trace import GraphOrder, trace
from exporter.lowering.onnx.twin_run import OnnxTwin
from exporter.progress import Progress
from exporter.quantization.store.checkpoint import QuantizedCheckpoint
from exporter.schemes import IntegerScheme
from runtimes.manifest import Artifact

DIRECTORY, GRAPH_NAME, DATA_NAME = "onnx", "model.onnx", "model.onnx.data"
METADATA = "gemma_export."
INTEGER_ARITHMETIC = "fp32; inputs of 8-bit matmuls as two int8 parts, of 4-bit ones rounded to int8"
FLOAT_ARITHMETIC = "fp32"


class OnnxLowering:
    """Satisfies `Lowering`. Peak memory: one trace and a few row chunks."""

    def lower(self, order: LoweringOrder, out: Path, progress: Progress) -> tuple[Artifact, ...]:
        if order.prefill_logits == "none":
            raise LoweringError(
                "prefill_logits", "an ONNX graph always returns logits", "ask for 'last' or 'all'"
            )
        order.require_carried_by(ONNX)
        checkpoint = order.checkpoint
        spec = checkpoint.components["text"].spec
        directory = out / DIRECTORY
        directory.mkdir(exist_ok=True)
        # (1)
        progress("trace", 0, 1)
        graph = trace(GraphOrder(spec, checkpoint.matrices, order.context, order.prefill_logits == "all"))
        # (2)
        ranges = lay_out(graph.stored.values())
        write_external_data(directory / DATA_NAME, ranges, checkpoint, progress)
        # (3)
        model = graph.model(
            [_initializer(tensor, ranges[tensor.content], checkpoint) for tensor in graph.stored.values()]
        )
        helper.set_model_props(model, _metadata(order))
        (directory / GRAPH_NAME).write_bytes(model.SerializeToString(deterministic=True))
        # (4)
        write_genai_config(order, GRAPH_NAME, directory)
        copy_tokenizer(order, directory)
        return (
            Artifact(
                component="text",
                format="onnx",
                path=f"{DIRECTORY}/{GRAPH_NAME}",
                context=order.context,
                vocab_size=spec.vocab_size,
                prefill_chunk=order.prefill_chunk,
                prefill_logits=order.prefill_logits,
            ),
        )

    def read_back(self, release: Path, artifact: Artifact) -> Iterator[StoredRows]:
        return read_back.read_back(release / artifact.path)

    def render(
        self, path: Path, artifact: Artifact, conversations: Sequence[Conversation], scratch: Path
    ) -> Prompts | None:
        return genai_prompts(path.parent, conversations)

    def float_twin(self, release: Path, artifact: Artifact, out: Path) -> OnnxTwin:
        return float_twin.float_twin(release, artifact, out)


def _initializer(tensor: DataTensor, place: ByteRange, checkpoint: QuantizedCheckpoint) -> TensorProto:
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


def _origin(tensor: DataTensor, checkpoint: QuantizedCheckpoint) -> str | None:
    """Which matrices a stored tensor holds, for whoever reads the file: [[name, rows, scheme], ...]."""
    match tensor.content:
        case CodeBytes(weights) | FloatBytes(weights):
            matrices = [checkpoint.matrices[name] for name in weights]
            return json.dumps([[matrix.name, matrix.shape[0], matrix.scheme.name] for matrix in matrices])
        case _:
            return None


def _metadata(order: LoweringOrder) -> dict[str, str]:
    """What a driver wants to know of the file."""
    integers = any(
        isinstance(matrix.scheme, IntegerScheme) for matrix in order.checkpoint.matrices.values()
    )
    return {
        f"{METADATA}arithmetic": INTEGER_ARITHMETIC if integers else FLOAT_ARITHMETIC,
        f"{METADATA}context": str(order.context),
        f"{METADATA}prefill_chunk": str(order.prefill_chunk),
    }
