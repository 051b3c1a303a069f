"""From an image tower to an ONNX graph: what clients give it and what they want of it.

    Gemma 3   pixel_values [images, 3, side, side] in [-1, 1]   image_features [images, soft tokens, hidden]
    Gemma 4   pixel_values [1, patches, numbers] in [0, 1],     image_features [soft tokens, hidden]
              pixel_position_ids int64 [1, patches, 2]

Padding behind the patches, -1 in the positions, is read as none: onnxruntime-genai gives none,
transformers.js as much as there is room for. All pictures of a prompt come at once to Gemma 3, which takes
them one by one. Not about giving stored tensors their bytes (`external_data`).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from exporter.lowering.onnx.graph_builder import EXAMPLE, IMAGES, PATCHES, SOFT_TOKENS, GraphBuilder
from exporter.lowering.onnx.integer_operators import IntegerOperators
from exporter.lowering.onnx.marks import with_mark
from exporter.lowering.onnx.matrix_operators import MatrixOperators
from exporter.lowering.onnx.vision_dialect import OnnxVision
from exporter.models.vision.spec import CHANNELS, PatchEmbedderSpec, SiglipSpec
from exporter.models.vision.tower import image_rows
from exporter.quantization.store.checkpoint import StoredVision

PIXELS, POSITIONS, FEATURES = "pixel_values", "pixel_position_ids", "image_features"


@dataclass(frozen=True)
class VisionOrder:
    """What the graph is to compute, and by which operators. marked: each row has a 1 behind it."""

    stored: StoredVision
    integers: IntegerOperators
    marked: bool = False


def trace_vision(order: VisionOrder) -> GraphBuilder:
    """Build the graph. Raises LoweringError for an operation it cannot express."""
    spec = order.stored.spec
    width = spec.text_hidden_size + (1 if order.marked else 0)
    with GraphBuilder() as graph:
        ops = OnnxVision(order.stored, MatrixOperators(order.stored.matrices, order.integers, graph))
        first = graph.constant(np.array([0], np.int64))
        if isinstance(spec, SiglipSpec):
            side = spec.image_size
            pixels = graph.of_each("picture", torch.float32, (CHANNELS, side, side))
            rows = image_rows(spec, ops, pixels.reshape(1, *pixels.shape), None, spec.soft_tokens)
            rows = with_mark(graph, rows, 1.0) if order.marked else rows
            rows = graph.op("Squeeze", (rows, first), rows.shape[1:])
            graph.each(IMAGES, pixels, PIXELS, rows, FEATURES)
            return graph
        pixels = graph.input(PIXELS, torch.float32, (1, PATCHES, spec.patch_width))
        positions = graph.input(POSITIONS, torch.int64, (1, PATCHES, 2))
        rows = image_rows(spec, ops, pixels, positions, EXAMPLE[SOFT_TOKENS])
        if isinstance(spec, PatchEmbedderSpec):  # a row for each square, whether it is one or not
            rows = _first(graph, rows, ops.count(positions))
        rows = with_mark(graph, rows, 1.0) if order.marked else rows
        rows = graph.op("Squeeze", (rows, first), rows.shape[1:])
        graph.output(rows, FEATURES, (SOFT_TOKENS, width))
    return graph


def _first(graph: GraphBuilder, rows: Tensor, count: Tensor) -> Tensor:
    """The first of rows [1, rows, width]."""
    start, axis = (graph.constant(np.array([n], np.int64)) for n in (0, 1))
    stop = graph.op("Unsqueeze", (count, start), (1,), dtype=torch.int64)
    return graph.op("Slice", (rows, start, stop, axis), (1, EXAMPLE[SOFT_TOKENS], rows.shape[2]))
