"""The models of a bundle as its sections: one for tokens, or one for vectors behind two embedders.

LiteRT-LM fills a text model's per_layer_embeddings, and takes images, only where it also fills embeddings,
from an embedder. The embedder's table is a tied head's: it names the head's bytes, so that nothing is
stored twice. Not about the container (`container_writing`) or what else a bundle holds (`bundle`).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import BinaryIO

from litert_lm_builder.litertlm_header_schema_py_generated import AnySectionDataType

from exporter.lowering.litert.container_writing import SectionSource, SharedSection
from exporter.lowering.litert.embedders import build_embedder, build_per_layer_embedder
from exporter.lowering.litert.row_marks import RowsInText
from exporter.lowering.litert.signatures import LiteRtGraph, build_embedded_graph
from exporter.lowering.litert.writing import Written, write_tflite
from exporter.quantization.store.checkpoint import QuantizedCheckpoint
from runtimes.litert.container import EMBEDDER, PER_LAYER_EMBEDDER, PREFILL_DECODE, WEIGHTS_GROUP
from runtimes.litert.external_weights import refer_outside


def token_model(write: Callable[[BinaryIO], None]) -> list[SectionSource | SharedSection]:
    """A text model that takes tokens."""
    return [_model(PREFILL_DECODE, write)]


@dataclass(frozen=True)
class EmbeddedOrder:
    """A text model that takes vectors. rows: what images and sounds ask of it, None for text alone."""

    checkpoint: QuantizedCheckpoint
    context: int
    chunk: int
    rows: RowsInText | None


def embedded_models(order: EmbeddedOrder, written: Written) -> list[SectionSource | SharedSection]:
    """A text model that takes vectors, and the embedders that give them."""
    checkpoint = order.checkpoint
    graph = build_embedded_graph(checkpoint, order.context, order.chunk, order.rows)
    text = model_section(PREFILL_DECODE, graph, written)
    tables = []
    if (ple := checkpoint.components["text"].spec.per_layer_embedding) is not None:
        looked_up = build_per_layer_embedder(checkpoint, ple)
        tables = [model_section(PER_LAYER_EMBEDDER, looked_up, written)]
    embedder, name = build_embedder(checkpoint), checkpoint.components["text"].spec.embedding_name
    if name not in graph.stores:
        return [text, model_section(EMBEDDER, embedder, written), *tables]

    def shared() -> list[tuple[int, int]]:
        """Begin and end of codes and, where they are apart, scales in the text model."""
        found = []
        for data in graph.stores[name].data:
            begin = graph.model.buffers[data.buffer].offset
            found.append((begin, begin + data.nbytes))
        return found

    def write_embedder(file: BinaryIO) -> None:
        first = shared()[0][0]
        own = [data.buffer for data in embedder.stores[name].data]
        places = {
            buffer: (begin - first, end - begin) for buffer, (begin, end) in zip(own, shared(), strict=True)
        }
        refer_outside(embedder.model, WEIGHTS_GROUP, places)
        write_tflite(embedder.model, (), file, written)

    weights = SharedSection(
        AnySectionDataType.TFLiteWeights,
        (("model_type", EMBEDDER),),
        text,
        lambda: (shared()[0][0], shared()[-1][1]),
    )
    return [text, _model(EMBEDDER, write_embedder), weights, *tables]


def model_section(model_type: str, graph: LiteRtGraph, written: Written) -> SectionSource:
    """A model and its weights. model_type: what LiteRT-LM calls it."""
    return _model(model_type, lambda file: write_tflite(graph.model, graph.external, file, written))


def _model(model_type: str, write: Callable[[BinaryIO], None]) -> SectionSource:
    return SectionSource(AnySectionDataType.TFLiteModel, (("model_type", model_type),), write)
