"""Marks: one number behind each row that a decoder takes in, 1 in an image's and 0 in a token's.

For a client that gives the decoder rows and no tokens. Not about what a decoder does with them
(`image_blocks`).
"""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from exporter.lowering.onnx.graph_builder import LENGTHS, GraphBuilder

INT64 = 7  # of onnx.TensorProto


def with_mark(graph: GraphBuilder, rows: Tensor, mark: float) -> Tensor:
    """Rows [1, rows, width] to [1, rows, width + 1]."""
    pads = graph.constant(np.array([0, 0, 0, 0, 0, 1], np.int64))
    value = graph.constant(np.array(mark, np.float32))
    return graph.op("Pad", (rows, pads, value), (*rows.shape[:2], rows.shape[2] + 1))


def without_mark(graph: GraphBuilder, rows: Tensor) -> tuple[Tensor, Tensor]:
    """Rows [1, tokens, width], and marks int64 [1, tokens]."""
    tokens, width = rows.shape[1], rows.shape[2] - 1
    sizes = graph.constant(np.array([width, 1], np.int64))
    plain, mark = graph.ops("Split", (rows, sizes), [(1, tokens, width), (1, tokens, 1)], {"axis": 2})
    axes = graph.constant(np.array([2], np.int64))
    flat = graph.op("Squeeze", (mark, axes), (1, tokens))
    name = f"{LENGTHS}images.marks"
    return plain, graph.op("Cast", (flat,), (1, tokens), {"to": INT64}, name=name, dtype=torch.int64)
