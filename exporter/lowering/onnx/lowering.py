"""`OnnxLowering`: the quantised checkpoint as an ONNX graph, its data file and its neighbours.

Steps for each format (`_write`):
  (1) build the graph; its weights are named, not read
  (2) write the data file, row chunk by row chunk
  (3) write the graph with initializers that point into it
  (4) put around it what its runtime looks for                                  graph_form
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from onnx import TensorProto, helper

from exporter.errors import LoweringError
from exporter.formats.onnx import ONNX
from exporter.lowering.conversations import Conversation, NotRendered, Prompts
from exporter.lowering.hidden_states import HiddenStates, HiddenStatesOrder, Seen
from exporter.lowering.interface import LoweringOrder, StoredRows
from exporter.lowering.onnx import float_twin, read_back
from exporter.lowering.onnx.artifact_file import WEIGHTS_KEY
from exporter.lowering.onnx.external_data import ByteRange, lay_out, write_external_data
from exporter.lowering.onnx.genai_prompts import genai_prompts
from exporter.lowering.onnx.graph_form import DIRECTORY, GraphForm, form_of
from exporter.lowering.onnx.stored_tensors import CodeBytes, DataTensor, FloatBytes, HalvedCodeBytes
from exporter.lowering.onnx.trace import GraphOrder, trace
from exporter.lowering.onnx.twin_run import OnnxTwin
from exporter.lowering.onnx.watched_body import onnx_hidden_states
from exporter.lowering.onnx.web_prompts import web_prompts
from exporter.progress import Progress
from exporter.quantization.store.checkpoint import QuantizedCheckpoint
from exporter.schemes import IntegerScheme
from runtimes.formats import FORMATS, Format
from runtimes.manifest import Artifact, EncoderArtifact

METADATA = "gemma_export."
FLOAT_ARITHMETIC = "fp32"


@dataclass(frozen=True)
class OnnxLowering:
    """Satisfies `Lowering`. Peak memory: one trace and a few row chunks. formats: those it writes."""

    formats: frozenset[Format]

    def lower(self, order: LoweringOrder, out: Path, progress: Progress) -> tuple[Artifact, ...]:
        if order.prefill_logits == "none":
            raise LoweringError(
                "prefill_logits", "an ONNX graph always returns logits", "ask for 'last' or 'all'"
            )
        order.require_carried_by(ONNX)
        text = order.checkpoint.components["text"]
        forms = [form_of(format, text.matrices) for format in FORMATS if format in self.formats]
        if len({form.graph_name for form in forms}) < len(forms):
            raise LoweringError(
                f"{DIRECTORY}/{forms[0].graph_name}",
                f"is what {' and '.join(form.format for form in forms)} would both be called",
                "export them one at a time with --format, or choose a recipe of integers",
            )
        (out / DIRECTORY).mkdir(exist_ok=True)
        return tuple(_write(order, form, out, progress) for form in forms)

    def encoders(self, order: LoweringOrder) -> tuple[EncoderArtifact, ...]:
        return ()

    def read_back(self, release: Path, artifact: Artifact) -> Iterator[StoredRows]:
        return read_back.read_back(release / artifact.path)

    def render(
        self, path: Path, artifact: Artifact, conversations: Sequence[Conversation], scratch: Path
    ) -> Prompts | NotRendered | None:
        if artifact.format == "onnx-web":
            return web_prompts(path.parent.parent, conversations, scratch)
        return genai_prompts(path.parent, conversations)

    def float_twin(self, release: Path, artifact: Artifact, out: Path) -> OnnxTwin:
        return float_twin.float_twin(release, artifact, out)

    def hidden_states(
        self,
        release: Path,
        artifact: Artifact,
        out: Path,
        order: HiddenStatesOrder,
        into: HiddenStates,
    ) -> Seen:
        return onnx_hidden_states(self.float_twin(release, artifact, out), order, into)


def _write(order: LoweringOrder, form: GraphForm, out: Path, progress: Progress) -> Artifact:
    """One graph, its data and its neighbours."""
    checkpoint, directory = order.checkpoint, out / DIRECTORY
    text = checkpoint.components["text"]
    spec = text.spec
    # (1)
    progress("trace", 0, 1)
    every = order.prefill_logits == "all"
    graph = trace(GraphOrder(spec, text.matrices, form.integers, form.attention, order.context, every))
    # (2)
    ranges = lay_out(graph.stored.values())
    write_external_data(directory / form.data_name, ranges, checkpoint, progress)
    # (3)
    model = graph.model(
        [
            initializer(tensor, form.data_name, ranges[tensor.content], checkpoint)
            for tensor in graph.stored.values()
        ]
    )
    helper.set_model_props(model, _metadata(order, form))
    (directory / form.graph_name).write_bytes(model.SerializeToString(deterministic=True))
    # (4)
    form.put_around(order, out)
    return Artifact(
        component="text",
        format=form.format,
        path=f"{DIRECTORY}/{form.graph_name}",
        context=order.context,
        vocab_size=spec.vocab_size,
        prefill_chunk=order.prefill_chunk,
        prefill_logits=order.prefill_logits,
    )


def initializer(
    tensor: DataTensor, location: str, place: ByteRange, checkpoint: QuantizedCheckpoint
) -> TensorProto:
    """A tensor whose data is a range of the data file."""
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


def _origin(tensor: DataTensor, checkpoint: QuantizedCheckpoint) -> str | None:
    """Which matrices a stored tensor holds, for whoever reads the file: [[name, rows, scheme], ...]."""
    match tensor.content:
        case CodeBytes(weights) | HalvedCodeBytes(weights) | FloatBytes(weights):
            matrices = [checkpoint.matrices[name] for name in weights]
            return json.dumps([[matrix.name, matrix.shape[0], matrix.scheme.name] for matrix in matrices])
        case _:
            return None


def _metadata(order: LoweringOrder, form: GraphForm) -> dict[str, str]:
    """What a driver wants to know of the file."""
    matrices = order.checkpoint.components["text"].matrices.values()
    integers = any(isinstance(matrix.scheme, IntegerScheme) for matrix in matrices)
    return {
        f"{METADATA}arithmetic": form.integers.arithmetic if integers else FLOAT_ARITHMETIC,
        f"{METADATA}context": str(order.context),
        f"{METADATA}prefill_chunk": str(order.prefill_chunk),
        **form.metadata,
    }
