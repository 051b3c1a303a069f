"""The graphs for images and sounds beside the one of text: towers, embedding, and a decoder of their rows.

Two ways, by who puts rows in the places of tokens:

    onnxruntime-genai   the embedding graph; the decoder is given the tokens too
    transformers.js     the client, which gives the decoder no tokens: where tokens of an image see each
                        other, every row has one number more, 1 in a row of an image and 0 in a token's

No weight of the text is written twice, but for a browser's sake: that opens no data file but a graph's own,
so the graph of tokens points into those of the other two. A tower has a data file of its own always.
Not about what a client is told of them (`genai_images`, `genai_sounds`, `web_images`, `web_sounds`).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from exporter.lowering.interface import ImageOrder, LoweringOrder, SoundOrder
from exporter.lowering.onnx.audio_trace import frames_per_token, trace_audio
from exporter.lowering.onnx.embedded_traces import (
    Merging,
    RowTokens,
    trace_embedded_decoder,
    trace_embedding,
)
from exporter.lowering.onnx.external_data import lay_out, write_external_data
from exporter.lowering.onnx.graph_builder import GraphBuilder
from exporter.lowering.onnx.integer_operators import IntegerOperators
from exporter.lowering.onnx.trace import GraphOrder
from exporter.lowering.onnx.vision_trace import VisionOrder, trace_vision
from exporter.lowering.onnx.web_absent import trace_absent
from exporter.lowering.onnx.written_graph import DataFile, arithmetic_of, write_graph
from exporter.models.vision.spec import PatchTowerSpec, SiglipSpec, VisionSpec
from exporter.progress import Progress
from exporter.quantization.store.checkpoint import StoredTower
from runtimes.formats import Format
from runtimes.manifest import EncoderArtifact, TowerName


@dataclass(frozen=True)
class MultimodalNames:
    """Names of the graphs. towers: of those whose rows the client takes. opens_all: the client opens the
    graph of each tower, whether the release has it or not."""

    towers: Mapping[TowerName, str]
    embedding: str
    decoder: str
    merging: Merging
    opens_all: bool = False


GENAI_NAMES = MultimodalNames(
    {"vision": "vision.onnx", "audio": "speech.onnx"}, "embedding.onnx", "decoder.onnx", "in the graph"
)


@dataclass(frozen=True)
class TowerGraph:
    """A tower, traced. integers: what multiplies in it. sizes: what its driver wants to know of the largest
    picture or sound it takes."""

    name: TowerName
    stored: StoredTower
    integers: IntegerOperators
    graph: GraphBuilder
    sizes: Mapping[str, int]


@dataclass(frozen=True)
class MultimodalGraphs:
    """All of them, traced."""

    names: MultimodalNames
    towers: Sequence[TowerGraph]
    embedding: GraphBuilder
    decoder: GraphBuilder


def orders_rows(order: LoweringOrder) -> bool:
    """Whether anything but text is ordered."""
    return order.images is not None or order.sounds is not None


def row_tokens(order: LoweringOrder) -> RowTokens:
    """How what is ordered stands among tokens."""
    parts = order.checkpoint.components
    return RowTokens(
        None if order.images is None else parts["vision"].spec.tokens,
        None if order.sounds is None else parts["audio"].spec.tokens,
    )


def tower_artifacts(
    order: LoweringOrder, names: MultimodalNames, format: Format, directory: str
) -> tuple[EncoderArtifact, ...]:
    """What a release says of the towers that are ordered."""
    width = order.checkpoint.components["text"].spec.hidden_size
    ordered: dict[TowerName, ImageOrder | SoundOrder | None] = {
        "vision": order.images,
        "audio": order.sounds,
    }
    decoder = f"{directory}/{names.decoder}"
    return tuple(
        EncoderArtifact(
            tower, format, f"{directory}/{names.towers[tower]}", decoder, asked.soft_tokens, width
        )
        for tower, asked in ordered.items()
        if asked is not None
    )


def trace_multimodal_graphs(
    order: LoweringOrder, names: MultimodalNames, text: GraphOrder
) -> MultimodalGraphs:
    """text: how the graph of tokens is traced."""
    placed = row_tokens(order)
    return MultimodalGraphs(
        names,
        list(_towers(order, text, names.merging)),
        trace_embedding(text, placed, names.merging),
        trace_embedded_decoder(text, placed, names.merging),
    )


def _towers(order: LoweringOrder, text: GraphOrder, merging: Merging) -> Iterator[TowerGraph]:
    parts, in_browsers = order.checkpoint.components, merging == "by the client"
    if order.images is not None:
        seeing, most = parts["vision"], order.images.soft_tokens
        marked = in_browsers and row_tokens(order).blocks != "none"
        integers = text.integers.of_many_rows()
        graph = trace_vision(VisionOrder(seeing, integers, marked, in_browsers))
        sizes = {"soft_tokens": most, "patches": patches_of(seeing.spec, most)}
        yield TowerGraph("vision", seeing, integers, graph, sizes)
    if order.sounds is not None:
        hearing, most = parts["audio"], order.sounds.soft_tokens
        graph = trace_audio(hearing, text.integers)
        sizes = {"soft_tokens": most, "frames": most * frames_per_token(hearing.spec)}
        yield TowerGraph("audio", hearing, text.integers, graph, sizes)


def text_data(
    graph: GraphBuilder, name: str, beside: MultimodalGraphs | None, suffix: str
) -> list[DataFile]:
    """The data files of the graph of tokens, called so, and of those that share its weights."""
    if beside is None or beside.names.merging == "in the graph":
        return [DataFile(f"{name}{suffix}", lay_out(graph.stored.values()))]
    return [
        DataFile(f"{beside.names.decoder}{suffix}", lay_out(beside.decoder.stored.values())),
        DataFile(f"{beside.names.embedding}{suffix}", lay_out(beside.embedding.stored.values())),
    ]


@dataclass(frozen=True)
class WrittenBeside:
    """data: the text's data files, written. suffix: of data files. metadata: of the graphs of text."""

    order: LoweringOrder
    data: Sequence[DataFile]
    suffix: str
    metadata: dict[str, str]


def write_multimodal_graphs(
    graphs: MultimodalGraphs, asked: WrittenBeside, directory: Path, progress: Progress
) -> None:
    """Write them into a directory that holds the text's data files."""
    checkpoint, names = asked.order.checkpoint, graphs.names
    placed = row_tokens(asked.order)
    soft = {"image_token": placed.images, "audio_token": placed.sounds}
    said = {key: str(tokens.soft) for key, tokens in soft.items() if tokens is not None}
    for name, graph in ((names.embedding, graphs.embedding), (names.decoder, graphs.decoder)):
        own = [file for file in asked.data if file.name.startswith(name)]
        write_graph(directory / name, graph, own or asked.data, checkpoint, asked.metadata | said)
    for tower in graphs.towers:
        name = names.towers[tower.name]
        data = DataFile(f"{name}{asked.suffix}", lay_out(tower.graph.stored.values()))
        write_external_data(directory / data.name, data.ranges, checkpoint, progress)
        facts = {"arithmetic": arithmetic_of(tower.stored.matrices, tower.integers.arithmetic)}
        facts |= {key: str(size) for key, size in tower.sizes.items()}
        write_graph(directory / name, tower.graph, [data], checkpoint, facts)
    if names.opens_all:
        width = checkpoint.components["text"].spec.hidden_size
        for absent in names.towers.keys() - {tower.name for tower in graphs.towers}:
            write_graph(directory / names.towers[absent], trace_absent(absent, width), [], checkpoint, {})


def patches_of(spec: VisionSpec, soft_tokens: int) -> int:
    """Rows that the tower takes of a picture of so many soft tokens."""
    if isinstance(spec, SiglipSpec):
        return spec.side**2
    return soft_tokens * (spec.kernel**2 if isinstance(spec, PatchTowerSpec) else 1)
