"""From the decoder to the two graphs that take images: one that embeds, one that takes what is embedded.

    embedding   input_ids, image_features                    inputs_embeds, per_layer_inputs
    decoder     inputs_embeds, per_layer_inputs, input_ids,  logits, caches
                attention_mask, caches

`per_layer_inputs` is there for models that have a second embedding, `input_ids` of the decoder where
tokens of an image see each other in both directions. A client that merges gives neither `image_features`
nor those: rows are marked (`marks`). Together, and without images, they compute what the graph
from tokens to logits does, of the same stored weights. Not about that graph (`trace`).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
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
from exporter.models.text.decoder import decode_embedded, embed, embed_per_layer
from exporter.models.text.spec import ModelSpec, PerLayerEmbedding
from exporter.models.vision.spec import ImageTokens

INPUT_IDS, EMBEDDED, PER_LAYER, FEATURES = (
    "input_ids",
    "inputs_embeds",
    "per_layer_inputs",
    "image_features",
)
PAD_TOKEN = 0  # whose row of the second embedding is every image's


Merging = Literal["in the graph", "by the client"]
"""Who puts rows of images in the places of tokens."""


def trace_embedding(order: GraphOrder, images: ImageTokens, merging: Merging) -> GraphBuilder:
    """Build the embedding graph: rows of tokens, and of images where tokens stand for those, in order."""
    spec, hidden = order.spec, order.spec.hidden_size
    with GraphBuilder() as graph:
        tokens = graph.input(INPUT_IDS, torch.int64, (1, TOKENS))
        lookup = OnnxLookup(spec, MatrixOperators(order.matrices, order.integers, graph))
        hits = _hits(graph, tokens, images)
        rows = embed(spec, lookup, tokens)
        if merging == "in the graph":
            # onnxruntime-genai gives rows of Gemma 3 image by image, and none of a text in a list.
            features = graph.input(FEATURES, torch.float32, (SOFT_TOKENS, hidden), any_rank=True)
            rows = _with_images(graph, rows, hits, features)
        elif images.blocks != "none":
            rows = with_mark(graph, rows, 0.0)
        graph.output(rows, EMBEDDED, (1, TOKENS, rows.shape[2]))
        if (ple := spec.per_layer_embedding) is not None:
            pad = graph.constant(np.array(PAD_TOKEN, np.int64))
            said = _whole(graph, "Where", (hits, pad, tokens), tokens.shape)
            width = per_layer_width(spec, ple)
            found = embed_per_layer(spec, ple, lookup, said).reshape(1, tokens.shape[1], width)
            graph.output(found, PER_LAYER, (1, TOKENS, width))
    return graph


def trace_embedded_decoder(order: GraphOrder, images: ImageTokens, merging: Merging) -> GraphBuilder:
    """Build the decoder graph. Raises LoweringError for an operation it cannot express."""
    spec = order.spec
    sees_ahead, marked = images.blocks != "none", merging == "by the client" and images.blocks != "none"
    with GraphBuilder() as graph:
        width = spec.hidden_size + (1 if marked else 0)
        embedded = graph.input(EMBEDDED, torch.float32, (1, TOKENS, width))
        rows = _per_layer_input(graph, spec)
        marks = None
        if marked:
            embedded, marks = without_mark(graph, embedded)
        elif sees_ahead:
            ids = graph.input(INPUT_IDS, torch.int64, (1, TOKENS))
            marks = _whole(graph, "Cast", (_hits(graph, ids, images),), ids.shape, {"to": INT64})
        mask = graph.input("attention_mask", torch.int64, (1, TOTAL))
        pasts = cache_inputs(graph, spec)
        blocks = None if marks is None else ImageBlocks(graph, marks, mask, images.blocks)
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


def _with_images(graph: GraphBuilder, rows: Tensor, hits: Tensor, features: Tensor) -> Tensor:
    """Rows [1, tokens, hidden] with features in the first places that are hit, as many as there are."""
    hidden = rows.shape[2]
    flat = graph.op("Reshape", (features, graph.constant(np.array([-1, hidden], np.int64))), features.shape)
    count = _whole(graph, "Shape", (flat,), (1,), {"start": 0, "end": 1})
    places = _whole(graph, "NonZero", (hits,), (2, math.prod(hits.shape)))
    places = _whole(graph, "Transpose", (places,), (places.shape[1], 2))
    zero = graph.constant(np.array([0], np.int64))
    places = _whole(graph, "Slice", (places, zero, count, zero), places.shape)
    return graph.op("ScatterND", (rows, places, flat), rows.shape)


def _hits(graph: GraphBuilder, ids: Tensor, images: ImageTokens) -> Tensor:
    """Where ids stand for rows of images."""
    soft, name = graph.constant(np.array(images.soft, np.int64)), f"{LENGTHS}images.hits"
    return graph.op("Equal", (ids, soft), ids.shape, name=name, dtype=torch.bool)


def _whole(
    graph: GraphBuilder,
    kind: str,
    operands: Sequence[Tensor],
    shape: Sequence[int],
    attributes: dict[str, int] | None = None,
) -> Tensor:
    name = f"{LENGTHS}images.{kind}"
    return graph.op(kind, operands, shape, attributes, name=name, dtype=torch.int64)
