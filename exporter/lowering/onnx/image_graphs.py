"""The graphs for images beside the one of text: tower, embedding, and the decoder that takes their rows.

Two ways, by who puts rows of images in the places of tokens:

    onnxruntime-genai   the embedding graph; the decoder is given the tokens too
    transformers.js     the client, which gives the decoder no tokens: where tokens of an image see each
                        other, every row has one number more, 1 in a row of an image and 0 in a token's

No weight of the text is written twice, but for a browser's sake: that opens no data file but a graph's own,
so the graph of tokens points into those of the other two. The tower has a data file of its own always.
Not about what a client is told of them (`genai_images`, `web_images`).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from exporter.lowering.interface import ImageOrder, LoweringOrder
from exporter.lowering.onnx.embedded_traces import Merging, trace_embedded_decoder, trace_embedding
from exporter.lowering.onnx.external_data import lay_out, write_external_data
from exporter.lowering.onnx.graph_builder import GraphBuilder
from exporter.lowering.onnx.trace import GraphOrder
from exporter.lowering.onnx.vision_trace import VisionOrder, trace_vision
from exporter.lowering.onnx.web_hearing import trace_deaf
from exporter.lowering.onnx.written_graph import DataFile, arithmetic_of, write_graph
from exporter.models.vision.spec import PatchTowerSpec, SiglipSpec, VisionSpec
from exporter.progress import Progress


@dataclass(frozen=True)
class ImageNames:
    """vision, embedding, decoder: names of the graphs. hearing: of a graph that makes no rows of sounds,
    None where nobody looks for one."""

    vision: str
    embedding: str
    decoder: str
    merging: Merging
    hearing: str | None = None


GENAI_IMAGES = ImageNames("vision.onnx", "embedding.onnx", "decoder.onnx", "in the graph")


@dataclass(frozen=True)
class ImageGraphs:
    """The three of them, traced."""

    names: ImageNames
    vision: GraphBuilder
    embedding: GraphBuilder
    decoder: GraphBuilder


def trace_image_graphs(order: LoweringOrder, names: ImageNames, text: GraphOrder) -> ImageGraphs:
    """text: how the graph of tokens is traced."""
    stored = order.checkpoint.components["vision"]
    tokens = stored.spec.tokens
    marked = names.merging == "by the client" and tokens.blocks != "none"
    return ImageGraphs(
        names,
        trace_vision(VisionOrder(stored, text.integers, marked)),
        trace_embedding(text, tokens, names.merging),
        trace_embedded_decoder(text, tokens, names.merging),
    )


def text_data(graph: GraphBuilder, name: str, images: ImageGraphs | None, suffix: str) -> list[DataFile]:
    """The data files of the graph of tokens, called so, and of those that share its weights."""
    if images is None or images.names.merging == "in the graph":
        return [DataFile(f"{name}{suffix}", lay_out(graph.stored.values()))]
    return [
        DataFile(f"{images.names.decoder}{suffix}", lay_out(images.decoder.stored.values())),
        DataFile(f"{images.names.embedding}{suffix}", lay_out(images.embedding.stored.values())),
    ]


@dataclass(frozen=True)
class ImageGraphsOrder:
    """data: the text's data files, written. suffix: of data files. metadata: of the graphs of text.
    arithmetic: of integers."""

    order: LoweringOrder
    images: ImageOrder
    data: Sequence[DataFile]
    suffix: str
    metadata: dict[str, str]
    arithmetic: str


def write_image_graphs(
    graphs: ImageGraphs, asked: ImageGraphsOrder, directory: Path, progress: Progress
) -> None:
    """Write them into a directory that holds the text's data files."""
    checkpoint, names = asked.order.checkpoint, graphs.names
    stored = checkpoint.components["vision"]
    spec = stored.spec
    metadata = {**asked.metadata, "image_token": str(spec.tokens.soft)}
    for name, graph in ((names.embedding, graphs.embedding), (names.decoder, graphs.decoder)):
        own = [file for file in asked.data if file.name.startswith(name)]
        write_graph(directory / name, graph, own or asked.data, checkpoint, metadata)
    data = DataFile(f"{names.vision}{asked.suffix}", lay_out(graphs.vision.stored.values()))
    write_external_data(directory / data.name, data.ranges, checkpoint, progress)
    facts = {
        "arithmetic": arithmetic_of(stored.matrices, asked.arithmetic),
        "soft_tokens": str(asked.images.soft_tokens),
        "patches": str(patches_of(spec, asked.images.soft_tokens)),
    }
    write_graph(directory / names.vision, graphs.vision, [data], checkpoint, facts)
    if names.hearing is not None:
        width = asked.order.checkpoint.components["text"].spec.hidden_size
        write_graph(directory / names.hearing, trace_deaf(width), [], checkpoint, {})


def patches_of(spec: VisionSpec, soft_tokens: int) -> int:
    """Rows that the tower takes of a picture of so many soft tokens."""
    if isinstance(spec, SiglipSpec):
        return spec.side**2
    return soft_tokens * (spec.kernel**2 if isinstance(spec, PatchTowerSpec) else 1)
