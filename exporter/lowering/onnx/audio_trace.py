"""From an audio encoder to an ONNX graph: what clients give it and what they want of it.

    input_features       [1, frames, bands], of the 12B [1, soft tokens, samples]
    input_features_mask  bool [1, frames]: which of them are sound
    audio_features       [1, soft tokens, hidden]: as many as there is sound for

onnxruntime-genai gives no frames of padding, transformers.js some behind the sound. Not about giving stored
tensors their bytes (`external_data`).
"""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from exporter.lowering.onnx.audio_dialect import OnnxAudio
from exporter.lowering.onnx.graph_builder import EXAMPLE, FRAMES, SOFT_TOKENS, GraphBuilder
from exporter.lowering.onnx.integer_operators import IntegerOperators
from exporter.lowering.onnx.matrix_operators import MatrixOperators
from exporter.models.audio.rows import sound_rows
from exporter.models.audio.spec import FRAMES_PER_TOKEN, AudioSpec, ConformerSpec, WaveformSpec
from exporter.quantization.store.checkpoint import StoredAudio

SPECTRUM, MASK, FEATURES = "input_features", "input_features_mask", "audio_features"
INT64 = 7  # of onnx.TensorProto


def trace_audio(stored: StoredAudio, integers: IntegerOperators) -> GraphBuilder:
    """Build the graph. Raises LoweringError for an operation it cannot express."""
    spec = stored.spec
    frames = FRAMES if isinstance(spec, ConformerSpec) else SOFT_TOKENS
    with GraphBuilder() as graph:
        ops = OnnxAudio(stored, MatrixOperators(stored.matrices, integers, graph))
        features = graph.input(SPECTRUM, torch.float32, (1, frames, width_of(spec)))
        sound = graph.input(MASK, torch.bool, (1, frames))
        rows = sound_rows(spec, ops, features, sound)
        there = ops.every(sound, frames_per_token(spec), EXAMPLE[SOFT_TOKENS])
        graph.output(_first(graph, rows, there), FEATURES, (1, SOFT_TOKENS, spec.text_hidden_size))
    return graph


def width_of(spec: AudioSpec) -> int:
    """Numbers of a frame."""
    return spec.bands if isinstance(spec, ConformerSpec) else spec.samples


def frames_per_token(spec: AudioSpec) -> int:
    return 1 if isinstance(spec, WaveformSpec) else FRAMES_PER_TOKEN


def _first(graph: GraphBuilder, rows: Tensor, there: Tensor) -> Tensor:
    """As many of rows [1, soft tokens, width] as are there; the others are behind them."""
    numbers = graph.op("Cast", (there,), there.shape, {"to": INT64}, dtype=torch.int64)
    count = graph.op("ReduceSum", (numbers,), (1, 1), {"keepdims": 1}, dtype=torch.int64)
    flat, axis = (graph.constant(np.array([n], np.int64)) for n in (-1, 1))
    stop = graph.op("Reshape", (count, flat), (1,), dtype=torch.int64)
    start = graph.constant(np.array([0], np.int64))
    return graph.op("Slice", (rows, start, stop, axis), rows.shape)
