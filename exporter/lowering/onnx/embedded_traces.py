"""From the decoder to the two graphs that take rows of images and sounds: one that embeds, one that takes
what is embedded.

    embedding   input_ids, image_features, audio_features    inputs_embeds, per_layer_inputs
    decoder     inputs_embeds, per_layer_inputs, input_ids,  logits, caches
                attention_mask, caches

`per_layer_inputs` is there for models that have a second embedding, `input_ids` of the decoder where
tokens of an image see each other in both directions. A client that merges gives neither features
nor those: rows are marked (`marks`). Together, and without rows, they compute what the graph
from tokens to logits does, of the same stored weights. Not about that graph (`trace`).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
import torch
from torch import Tensor

from exporter.lowering.onnx.attention_operators import AttentionInputs
from exporter.lowering.onnx.dialect import OnnxDialect, OnnxLookup
from exporter.lowering.onnx.graph_builder import LENGTHS, SOFT_TOKENS, TOKENS, TOTAL, GraphBuilder
from exporter.lowering.onnx.image_blocks import ImageBlocks
from exporter.lowering.onnx.marks import INT64, with_mark, without_mark
from exporter.lowering.onnx.matrix_operators import MatrixOperators
from exporter.lowering.onnx.trace import GraphOrder, cache_inputs, put_out
from exporter.models.audio.spec import SoundTokens
from exporter.models.text.decoder import decode_embedded, embed, embed_per_layer
from exporter.models.text.spec import ModelSpec, PerLayerEmbedding
from exporter.models.vision.spec import BlockLayers, ImageTokens

INPUT_IDS, EMBEDDED, PER_LAYER = "input_ids", "inputs_embeds", "per_layer_inputs"
IMAGES, SOUNDS = "images", "sounds"
FEATURES = {IMAGES: "image_features", SOUNDS: "audio_features"}
PAD_TOKEN = 0  # whose row of the second embedding is every image's and every sound's


Merging = Literal["in the graph", "by the client"]
"""Who puts rows of images and sounds in the places of tokens."""


@dataclass(frozen=True)
class RowTokens:
    """How what a decoder takes rows of stands among tokens; None for what it takes none of."""

    images: ImageTokens | None
    sounds: SoundTokens | None

    @property
    def soft(self) -> dict[str, int]:
        """The id in place of each row."""
        found = {IMAGES: self.images, SOUNDS: self.sounds}
        return {kind: tokens.soft for kind, tokens in found.items() if tokens is not None}

    @property
    def blocks(self) -> BlockLayers:
        """Where tokens of an image see each other; those of a sound nowhere do."""
        return "none" if self.images is None else self.images.blocks


def trace_embedding(order: GraphOrder, placed: RowTokens, merging: Merging) -> GraphBuilder:
    """Build the embedding graph: rows of tokens, and of what tokens stand for, in order."""
    spec, hidden = order.spec, order.spec.hidden_size
    with GraphBuilder() as graph:
        tokens = graph.input(INPUT_IDS, torch.int64, (1, TOKENS))
        lookup = OnnxLookup(spec, MatrixOperators(order.matrices, order.integers, graph))
        hits = {kind: _hits(graph, tokens, kind, soft) for kind, soft in placed.soft.items()}
        rows = embed(spec, lookup, tokens)
        if merging == "in the graph":
            for kind, places in hits.items():
                # onnxruntime-genai gives rows of Gemma 3 image by image, and none of a text in a list.
                features = graph.input(FEATURES[kind], torch.float32, (SOFT_TOKENS, hidden), any_rank=True)
                rows = _with_rows(graph, rows, kind, places, features)
        elif placed.blocks != "none":
            rows = with_mark(graph, rows, 0.0)
        graph.output(rows, EMBEDDED, (1, TOKENS, rows.shape[2]))
        if (ple := spec.per_layer_embedding) is not None:
            pad, said = graph.constant(np.array(PAD_TOKEN, np.int64)), tokens
            for kind, places in hits.items():
                said = _whole(graph, kind, "Where", (places, pad, said), tokens.shape)
            width = per_layer_width(spec, ple)
            found = embed_per_layer(spec, ple, lookup, said).reshape(1, tokens.shape[1], width)
            graph.output(found, PER_LAYER, (1, TOKENS, width))
    return graph


def trace_embedded_decoder(order: GraphOrder, placed: RowTokens, merging: Merging) -> GraphBuilder:
    """Build the decoder graph. Raises LoweringError for an operation it cannot express."""
    spec = order.spec
    sees_ahead = placed.blocks != "none"
    marked = merging == "by the client" and sees_ahead
    with GraphBuilder() as graph:
        width = spec.hidden_size + (1 if marked else 0)
        embedded = graph.input(EMBEDDED, torch.float32, (1, TOKENS, width))
        rows = _per_layer_input(graph, spec)
        marks = None
        if marked:
            embedded, marks = without_mark(graph, embedded)
        elif sees_ahead:
            ids = graph.input(INPUT_IDS, torch.int64, (1, TOKENS))
            hits = _hits(graph, ids, IMAGES, placed.soft[IMAGES])
            marks = _whole(graph, IMAGES, "Cast", (hits,), ids.shape, {"to": INT64})
        mask = graph.input("attention_mask", torch.int64, (1, TOTAL))
        pasts = cache_inputs(graph, spec)
        blocks = None if marks is None else ImageBlocks(graph, marks, mask, placed.blocks)
        given = AttentionInputs(spec, order.context, graph, embedded, mask, pasts, blocks)
        attention = order.attention(given)
        ops = OnnxDialect(
            spec, MatrixOperators(order.matrices, order.integers, graph), attention, order.all_logits
        )
        put_out(graph, order, decode_embedded(spec, ops, embedded, rows), attention.presents)
    return graph


def per_layer_width(spec: ModelSpec, ple: PerLayerEmbedding) -> int:
    """Numbers of a token in all layers."""
    return len(spec.layers) * ple.width


def _per_layer_input(graph: GraphBuilder, spec: ModelSpec) -> Tensor | None:
    """[1, tokens, layers, width]."""
    if (ple := spec.per_layer_embedding) is None:
        return None
    flat = graph.input(PER_LAYER, torch.float32, (1, TOKENS, per_layer_width(spec, ple)))
    return flat.reshape(1, flat.shape[1], len(spec.layers), ple.width)


def _with_rows(graph: GraphBuilder, rows: Tensor, kind: str, hits: Tensor, features: Tensor) -> Tensor:
    """Rows [1, tokens, hidden] with features in the first places that are hit, as many as there are."""
    hidden = rows.shape[2]
    flat = graph.op("Reshape", (features, graph.constant(np.array([-1, hidden], np.int64))), features.shape)
    count = _whole(graph, kind, "Shape", (flat,), (1,), {"start": 0, "end": 1})
    places = _whole(graph, kind, "NonZero", (hits,), (2, math.prod(hits.shape)))
    places = _whole(graph, kind, "Transpose", (places,), (places.shape[1], 2))
    zero = graph.constant(np.array([0], np.int64))
    places = _whole(graph, kind, "Slice", (places, zero, count, zero), places.shape)
    return graph.op("ScatterND", (rows, places, flat), rows.shape)


def _hits(graph: GraphBuilder, ids: Tensor, kind: str, soft: int) -> Tensor:
    """Where ids stand for rows of a kind."""
    name = f"{LENGTHS}{kind}.hits"
    operands = (ids, graph.constant(np.array(soft, np.int64)))
    return graph.op("Equal", operands, ids.shape, name=name, dtype=torch.bool)


def _whole(
    graph: GraphBuilder,
    kind: str,
    operator: str,
    operands: Sequence[Tensor],
    shape: Sequence[int],
    attributes: dict[str, int] | None = None,
) -> Tensor:
    name = f"{LENGTHS}{kind}.{operator}"
    return graph.op(operator, operands, shape, attributes, name=name, dtype=torch.int64)
