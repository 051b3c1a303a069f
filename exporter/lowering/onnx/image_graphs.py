"""The graphs for images beside the one of text: tower, embedding, and the decoder that takes their rows.

Embedding and decoder point into the text's data file: no weight is written twice. The tower has a data file
of its own. Steps of `write_image_graphs`:
  (1) the two that share the text's weights
  (2) the tower's data file, and its graph
Not about what a client is told of them (`genai_images`).
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from exporter.lowering.interface import ImageOrder, LoweringOrder
from exporter.lowering.onnx.embedded_traces import trace_embedded_decoder, trace_embedding
from exporter.lowering.onnx.external_data import lay_out, write_external_data
from exporter.lowering.onnx.integer_operators import IntegerOperators
from exporter.lowering.onnx.trace import GraphOrder
from exporter.lowering.onnx.vision_trace import VisionOrder, trace_vision
from exporter.lowering.onnx.written_graph import DataFile, arithmetic_of, write_graph
from exporter.models.vision.spec import PatchTowerSpec, SiglipSpec, VisionSpec
from exporter.progress import Progress

VISION, EMBEDDING, DECODER = "vision.onnx", "embedding.onnx", "decoder.onnx"


@dataclass(frozen=True)
class ImageGraphsOrder:
    """text: how the decoder is traced. data: its data file. metadata: of its graph."""

    order: LoweringOrder
    images: ImageOrder
    text: GraphOrder
    data: DataFile
    metadata: dict[str, str]
    integers: IntegerOperators


def write_image_graphs(asked: ImageGraphsOrder, directory: Path, progress: Progress) -> None:
    """Write the three of them into a directory that holds the text's data file."""
    checkpoint = asked.order.checkpoint
    stored = checkpoint.components["vision"]
    spec = stored.spec
    # (1)
    metadata = {**asked.metadata, "image_token": str(spec.tokens.soft)}
    for name, graph in (
        (EMBEDDING, trace_embedding(asked.text, spec.tokens)),
        (DECODER, trace_embedded_decoder(asked.text, spec.tokens)),
    ):
        write_graph(directory / name, graph, [asked.data], checkpoint, metadata)
    # (2)
    tower = trace_vision(VisionOrder(stored, asked.integers))
    data = DataFile(f"{VISION}.data", lay_out(tower.stored.values()))
    write_external_data(directory / data.name, data.ranges, checkpoint, progress)
    facts = {
        "arithmetic": arithmetic_of(stored.matrices, asked.integers.arithmetic),
        "soft_tokens": str(asked.images.soft_tokens),
        "patches": str(patches_of(spec, asked.images.soft_tokens)),
    }
    write_graph(directory / VISION, tower, [data], checkpoint, facts)


def patches_of(spec: VisionSpec, soft_tokens: int) -> int:
    """Rows that the tower takes of a picture of so many soft tokens."""
    if isinstance(spec, SiglipSpec):
        return spec.side**2
    return soft_tokens * (spec.kernel**2 if isinstance(spec, PatchTowerSpec) else 1)
