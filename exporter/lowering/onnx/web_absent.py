"""What stands in the place of a tower that a release has not: a graph that makes no rows of anything.

transformers.js' class of Gemma 4 opens a `vision_encoder` and an `audio_encoder` with every model, and has
no way to be told that there is none. A picture or a sound given to it is refused there: a prompt has tokens
for its rows, and there are none. Not about towers that there are.
"""

from __future__ import annotations

from typing import assert_never

import numpy as np
import torch

from exporter.lowering.onnx.graph_builder import FRAMES, PATCHES, GraphBuilder
from runtimes.manifest import TowerName

MELS = 128


def trace_absent(tower: TowerName, width: int) -> GraphBuilder:
    """The tower's inputs to rows [0, width]."""
    with GraphBuilder() as graph:
        match tower:
            case "vision":
                graph.input("pixel_values", torch.float32, (1, PATCHES, 1), any_rank=True)
                graph.input("pixel_position_ids", torch.int64, (1, PATCHES, 2), any_rank=True)
                name = "image_features"
            case "audio":
                graph.input("input_features", torch.float32, (1, FRAMES, MELS))
                graph.input("input_features_mask", torch.bool, (1, FRAMES))
                name = "audio_features"
            case _:
                assert_never(tower)
        nothing = graph.constant(np.zeros((0, width), np.float32))
        rows = graph.op("Identity", (nothing,), nothing.shape)
        graph.output(rows, name, (0, width))
    return graph
