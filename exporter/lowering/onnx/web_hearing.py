"""What stands in the place of an encoder of sounds: a graph that makes no rows of any.

transformers.js' class of Gemma 4 opens an `audio_encoder` with every model that takes images, and has no
way to be told that there is none. A sound given to it is refused there: a prompt has tokens for a sound's
rows, and there are none. Not about hearing: no release does.
"""

from __future__ import annotations

import numpy as np
import torch

from exporter.lowering.onnx.graph_builder import FRAMES, GraphBuilder

MELS = 128


def trace_deaf(width: int) -> GraphBuilder:
    """input_features [1, frames, mels], input_features_mask [1, frames] to audio_features [0, width]."""
    with GraphBuilder() as graph:
        graph.input("input_features", torch.float32, (1, FRAMES, MELS))
        graph.input("input_features_mask", torch.bool, (1, FRAMES))
        nothing = graph.constant(np.zeros((0, width), np.float32))
        rows = graph.op("Identity", (nothing,), nothing.shape)
        graph.output(rows, "audio_features", (0, width))
    return graph
