"""`OnnxLowering`: the quantised checkpoint as an ONNX graph, its data file and its neighbours.

Steps for each format (`_write`):
  (1) build the graph; its weights are named, not read
  (2) write the data file, row chunk by row chunk
  (3) write the graph with initializers that point into it, and where images are ordered
      the graphs that take those                                                image_graphs
  (4) put around it what its runtime looks for                                  graph_form
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from exporter.errors import LoweringError
from exporter.formats.onnx import ONNX
from exporter.lowering.conversations import Conversation, NotRendered, Prompts
from exporter.lowering.hidden_states import HiddenStates, HiddenStatesOrder, Seen
from exporter.lowering.interface import LoweringOrder, StoredRows
from exporter.lowering.onnx import float_twin, read_back
from exporter.lowering.onnx.external_data import write_external_data
from exporter.lowering.onnx.genai_prompts import genai_prompts
from exporter.lowering.onnx.graph_form import DIRECTORY, GraphForm, form_of
from exporter.lowering.onnx.image_graphs import (
    ImageGraphsOrder,
    text_data,
    trace_image_graphs,
    write_image_graphs,
)
from exporter.lowering.onnx.trace import GraphOrder, trace
from exporter.lowering.onnx.twin_run import OnnxTwin
from exporter.lowering.onnx.vision_twin import vision_twin
from exporter.lowering.onnx.watched_body import onnx_hidden_states
from exporter.lowering.onnx.web_prompts import web_prompts
from exporter.lowering.onnx.written_graph import arithmetic_of, write_graph
from exporter.progress import Progress
from runtimes.formats import FORMATS, Format
from runtimes.manifest import Artifact, EncoderArtifact


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
        forms = [form_of(format, text) for format in FORMATS if format in self.formats]
        if len({form.graph_name for form in forms}) < len(forms):
            raise LoweringError(
                f"{DIRECTORY}/{forms[0].graph_name}",
                f"is what {' and '.join(form.format for form in forms)} would both be called",
                "export them one at a time with --format, or choose a recipe of integers",
            )
        (out / DIRECTORY).mkdir(exist_ok=True)
        return tuple(_write(order, form, out, progress) for form in forms)

    def encoders(self, order: LoweringOrder) -> tuple[EncoderArtifact, ...]:
        if order.images is None:
            return ()
        text = order.checkpoint.components["text"]
        found = []
        for format in FORMATS:
            if format in self.formats and (names := form_of(format, text).images) is not None:
                path, decoder = f"{DIRECTORY}/{names.vision}", f"{DIRECTORY}/{names.decoder}"
                soft, width = order.images.soft_tokens, text.spec.hidden_size
                found.append(EncoderArtifact("vision", format, path, decoder, soft, width))
        return tuple(found)

    def read_back(self, release: Path, artifact: Artifact | EncoderArtifact) -> Iterator[StoredRows]:
        return read_back.read_back(release / artifact.path)

    def render(
        self, path: Path, artifact: Artifact, conversations: Sequence[Conversation], scratch: Path
    ) -> Prompts | NotRendered | None:
        if artifact.format == "onnx-web":
            return web_prompts(path.parent.parent, conversations, scratch)
        return genai_prompts(path.parent, conversations)

    def float_twin(self, release: Path, artifact: Artifact, out: Path) -> OnnxTwin:
        return float_twin.float_twin(release, artifact, out)

    def tower_twin(self, release: Path, encoder: EncoderArtifact, out: Path) -> EncoderArtifact:
        """As `float_twin`, of a tower."""
        return vision_twin(release, encoder, out)

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
    traced = GraphOrder(spec, text.matrices, form.integers, form.attention, order.context, every)
    graph = trace(traced)
    # (2)
    images = None
    if order.images is not None and form.images is not None:
        images = trace_image_graphs(order, form.images, traced)
    data = text_data(graph, form.graph_name, images, form.data_suffix)
    for file in data:
        write_external_data(directory / file.name, file.ranges, checkpoint, progress)
    # (3)
    metadata = _metadata(order, form)
    write_graph(directory / form.graph_name, graph, data, checkpoint, metadata)
    if order.images is not None and images is not None:
        arithmetic = form.integers.arithmetic
        asked = ImageGraphsOrder(order, order.images, data, form.data_suffix, metadata, arithmetic)
        write_image_graphs(images, asked, directory, progress)
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


def _metadata(order: LoweringOrder, form: GraphForm) -> dict[str, str]:
    """What a driver wants to know of the file."""
    matrices = order.checkpoint.components["text"].matrices
    return {
        "arithmetic": arithmetic_of(matrices, form.integers.arithmetic),
        "context": str(order.context),
        "prefill_chunk": str(order.prefill_chunk),
        **form.metadata,
    }
