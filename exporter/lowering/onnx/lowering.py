"""`OnnxLowering`: the quantised checkpoint as an ONNX graph, its data file and its neighbours.

Steps for each format (`_write`):
  (1) build the graph; its weights are named, not read
  (2) write the data file, row chunk by row chunk
  (3) write the graph with initializers that point into it, and where images or sounds are
      ordered the graphs that take those                                        multimodal_graphs
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
from exporter.lowering.interface import ImageOrder, LoweringOrder, SoundOrder, StoredRows
from exporter.lowering.onnx import float_twin, read_back
from exporter.lowering.onnx.external_data import write_external_data
from exporter.lowering.onnx.genai_prompts import genai_prompts
from exporter.lowering.onnx.genai_sounds import feature_extraction
from exporter.lowering.onnx.graph_form import DIRECTORY, GraphForm, form_of
from exporter.lowering.onnx.multimodal_graphs import (
    WrittenBeside,
    orders_rows,
    text_data,
    tower_artifacts,
    trace_multimodal_graphs,
    write_multimodal_graphs,
)
from exporter.lowering.onnx.tower_twin import tower_twin
from exporter.lowering.onnx.trace import GraphOrder, trace
from exporter.lowering.onnx.twin_run import OnnxTwin
from exporter.lowering.onnx.watched_body import onnx_hidden_states
from exporter.lowering.onnx.web_prompts import web_prompts
from exporter.lowering.onnx.web_sounds import sound_settings
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

    def require_media(self, images: ImageOrder | None, sounds: SoundOrder | None) -> None:
        if sounds is None or sounds.processing.spectrum is None:
            return
        if "onnx" in self.formats:
            feature_extraction(sounds.processing)
        if "onnx-web" in self.formats:
            sound_settings(sounds.processing)

    def encoders(self, order: LoweringOrder) -> tuple[EncoderArtifact, ...]:
        text = order.checkpoint.components["text"]
        found: tuple[EncoderArtifact, ...] = ()
        for format in FORMATS:
            if format in self.formats and (names := form_of(format, text).multimodal) is not None:
                found += tower_artifacts(order, names, format, DIRECTORY)
        return found

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
        return tower_twin(release, encoder, out)

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
    beside = None
    if orders_rows(order) and form.multimodal is not None:
        beside = trace_multimodal_graphs(order, form.multimodal, traced)
    data = text_data(graph, form.graph_name, beside, form.data_suffix)
    for file in data:
        write_external_data(directory / file.name, file.ranges, checkpoint, progress)
    # (3)
    metadata = _metadata(order, form)
    write_graph(directory / form.graph_name, graph, data, checkpoint, metadata)
    if beside is not None:
        asked = WrittenBeside(order, data, form.data_suffix, metadata)
        write_multimodal_graphs(beside, asked, directory, progress)
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
