"""From an image tower to an ONNX graph: what clients give it and what they want of it.

    Gemma 3   pixel_values [images, 3, side, side] in [-1, 1]   image_features [images, soft tokens, hidden]
    Gemma 4   pixel_values [images, patches, numbers] in [0, 1] image_features [soft tokens of all, hidden]
              pixel_position_ids int64 [images, patches, 2]

Padding behind the patches, -1 in the positions, is cut off: onnxruntime-genai gives none, transformers.js
as much as there is room for. Attention that masks keys is none on WebGPU, and on processors keeps every
score, a GB of 4,096 patches. Not about giving stored tensors their bytes (`external_data`).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from exporter.lowering.onnx.graph_builder import EXAMPLE, PATCHES, SOFT_TOKENS, GraphBuilder
from exporter.lowering.onnx.integer_operators import IntegerOperators
from exporter.lowering.onnx.marks import with_mark
from exporter.lowering.onnx.matrix_operators import MatrixOperators
from exporter.lowering.onnx.picture_loop import one_below_the_other, picture_by_picture
from exporter.lowering.onnx.vision_dialect import OnnxVision
from exporter.models.vision.spec import CHANNELS, SiglipSpec
from exporter.models.vision.tower import image_rows
from exporter.quantization.store.checkpoint import StoredVision

PIXELS, POSITIONS, FEATURES = "pixel_values", "pixel_position_ids", "image_features"


@dataclass(frozen=True)
class VisionOrder:
    """What the graph is to compute, and by which operators. marked: each row has a 1 behind it.
    in_browsers: no fp16 is looked up and attention is plain operators, which every WebGPU computes."""

    stored: StoredVision
    integers: IntegerOperators
    marked: bool = False
    in_browsers: bool = False


def trace_vision(order: VisionOrder) -> GraphBuilder:
    """Build the graph. Raises LoweringError for an operation it cannot express."""
    spec = order.stored.spec
    with GraphBuilder() as graph:
        matrices = MatrixOperators(order.stored.matrices, order.integers, graph, widened=order.in_browsers)
        ops = OnnxVision(order.stored, matrices, in_browsers=order.in_browsers)
        if isinstance(spec, SiglipSpec):
            side = spec.image_size
            pixels = graph.inner("one_picture", torch.float32, (CHANNELS, side, side))
            rows = image_rows(spec, ops, pixels.reshape(1, *pixels.shape), None, spec.soft_tokens)
            picture_by_picture(graph, pixels, PIXELS, _flat(graph, rows, order.marked), FEATURES)
            return graph
        pixels = graph.inner("patches", torch.float32, (PATCHES, spec.patch_width))
        places = graph.inner("places", torch.int64, (PATCHES, 2))
        patches, positions = _in_a_batch(graph, pixels), _in_a_batch(graph, places)
        count = ops.count(positions)
        patches, positions = (_first(graph, each, count, PATCHES) for each in (patches, positions))
        rows = image_rows(spec, ops, patches, positions, EXAMPLE[SOFT_TOKENS])
        ones = {PIXELS: (pixels, (PATCHES, spec.patch_width)), POSITIONS: (places, (PATCHES, 2))}
        one_below_the_other(graph, ones, _flat(graph, rows, order.marked), FEATURES)
    return graph


def _in_a_batch(graph: GraphBuilder, one: Tensor) -> Tensor:
    axes = graph.constant(np.array([0], np.int64))
    return graph.op("Unsqueeze", (one, axes), (1, *one.shape), dtype=one.dtype)


def _flat(graph: GraphBuilder, rows: Tensor, marked: bool) -> Tensor:
    """Rows [1, rows, width] to [rows, width], with a mark behind each or not."""
    rows = with_mark(graph, rows, 1.0) if marked else rows
    axes = graph.constant(np.array([0], np.int64))
    return graph.op("Squeeze", (rows, axes), rows.shape[1:])


def _first(graph: GraphBuilder, rows: Tensor, count: Tensor, length: str) -> Tensor:
    """The first of rows [1, rows, width], as many as `count`, int64 [], says."""
    start, axis = (graph.constant(np.array([n], np.int64)) for n in (0, 1))
    stop = graph.op("Unsqueeze", (count, start), (1,), dtype=torch.int64)
    shape = (1, EXAMPLE[length], rows.shape[2])
    return graph.op("Slice", (rows, start, stop, axis), shape, dtype=rows.dtype)
