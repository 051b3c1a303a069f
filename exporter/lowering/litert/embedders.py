"""The small models that stand before a text model that takes vectors: one token in, its vectors out.

LiteRT-LM looks tokens up one at a time, outside the text model: the embedder gives embeddings
[1, 1, hidden], the per-layer embedder [1, 1, layers, width], both scaled as the decoder takes them.
Each has one signature, token_ids [1, 1] int32 to embeddings float32. Not about the text model
(`signatures`) or where in a bundle they lie (`models`).
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from exporter.lowering.litert.dialect import LiteRtLookup
from exporter.lowering.litert.graph import ModelBuilder, SubgraphBuilder
from exporter.lowering.litert.operations import Operations
from exporter.lowering.litert.signatures import LiteRtGraph
from exporter.lowering.litert.storage import MatrixStore, values_in
from exporter.lowering.litert.tracing import ArithmeticTracer
from exporter.models.text.decoder import embed, embed_per_layer
from exporter.models.text.spec import PerLayerEmbedding
from exporter.quantization.store.checkpoint import QuantizedCheckpoint


def build_embedder(checkpoint: QuantizedCheckpoint) -> LiteRtGraph:
    """Tokens to what the decoder takes for them."""
    spec = checkpoint.components["text"].spec
    return _build(checkpoint, "embedder", spec.embedding_name, lambda ops, token: embed(spec, ops, token))


def build_per_layer_embedder(checkpoint: QuantizedCheckpoint, ple: PerLayerEmbedding) -> LiteRtGraph:
    """Tokens to their rows of the per-layer table."""
    spec = checkpoint.components["text"].spec
    return _build(
        checkpoint,
        "per_layer_embedder",
        spec.per_layer_embedding_name,
        lambda ops, token: embed_per_layer(spec, ple, ops, token),
    )


def _build(
    checkpoint: QuantizedCheckpoint,
    name: str,
    table: str,
    look_up: Callable[[LiteRtLookup, Tensor], Tensor],
) -> LiteRtGraph:
    builder = ModelBuilder()
    stores = {table: MatrixStore.of(checkpoint.components["text"].matrices[table], builder)}
    graph = SubgraphBuilder(builder, name)
    ops = Operations(graph)
    token = graph.input("token_ids", (1, 1), torch.int32)
    with ArithmeticTracer(ops):
        vectors = look_up(
            LiteRtLookup(ops, values_in(graph, stores), checkpoint.components["text"].gains()), token
        )
    graph.finish({"embeddings": vectors})
    return LiteRtGraph(builder.model, stores)
