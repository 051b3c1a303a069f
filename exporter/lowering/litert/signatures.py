"""The graph LiteRT-LM expects of a text model: signatures `prefill_<n>` and `decode`.

Inputs of each: tokens [1, n] int32, input_pos [n] int32, mask [1, 1, n, context] float32, and for each
layer that owns a cache kv_cache_k_<layer> and kv_cache_v_<layer> (`cache_tensors`), which come back
updated. `decode` (n = 1) also returns logits [1, 1, vocab]. Beside embedders of its own (`embedders`) a
model takes, for tokens, embeddings [1, n, hidden] and per_layer_embeddings [1, n, layers, width], float32.
Not about bundles or files.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from exporter.formats.litert import LITERT, LITERT_STREAM
from exporter.lowering.litert.cache_tensors import CacheTensors
from exporter.lowering.litert.dialect import LiteRtDialect
from exporter.lowering.litert.graph import ModelBuilder, SubgraphBuilder
from exporter.lowering.litert.operations import Operations
from exporter.lowering.litert.storage import ALIGNMENT, ExternalData, MatrixStore, factors_in, values_in
from exporter.lowering.litert.tracing import ArithmeticTracer
from exporter.models.text.decoder import decode, decode_embedded
from exporter.models.text.spec import ModelSpec
from exporter.quantization.store.checkpoint import QuantizedCheckpoint
from exporter.schemes import IntegerScheme, Scheme
from runtimes.litert.container import SECTION_ALIGNMENT

DECODE = "decode"
SPLIT_FROM_BITS = 8


def prefill_name(chunk: int) -> str:
    return f"prefill_{chunk}"


@dataclass(frozen=True)
class LiteRtGraph:
    """A schema ModelT whose external buffers have sizes but no places yet, and their bytes."""

    model: Any
    stores: Mapping[str, MatrixStore]

    @property
    def external(self) -> tuple[ExternalData, ...]:
        return tuple(part for store in self.stores.values() for part in store.data)


def build_graph(checkpoint: QuantizedCheckpoint, context: int, chunk: int) -> LiteRtGraph:
    """Both signatures over one set of weights, for tokens. Holds no matrix data, only per-row scales."""
    builder = ModelBuilder()
    tables = _tables(checkpoint.components["text"].spec)
    stores = {
        name: MatrixStore.of(matrix, builder, multiplied=name not in tables)
        for name, matrix in checkpoint.components["text"].matrices.items()
    }
    return _build(checkpoint, builder, stores, context, chunk, _tokens)


def build_embedded_graph(checkpoint: QuantizedCheckpoint, context: int, chunk: int) -> LiteRtGraph:
    """As `build_graph`, for what embedders make of tokens, without the tables these look up.

    A tied embedding is here, being the head, where a section of a bundle may begin.
    """
    builder, spec = ModelBuilder(), checkpoint.components["text"].spec
    tables = _tables(spec)
    elsewhere = tables - {spec.head_name}
    stores = {
        name: MatrixStore.of(
            matrix,
            builder,
            SECTION_ALIGNMENT if name == spec.embedding_name else ALIGNMENT,
            multiplied=name not in tables,
        )
        for name, matrix in checkpoint.components["text"].matrices.items()
        if name not in elsewhere
    }
    return _build(checkpoint, builder, stores, context, chunk, _vectors)


def _tables(spec: ModelSpec) -> set[str]:
    """Matrices that are looked up, whatever else they are."""
    return {spec.per_layer_embedding_name, spec.embedding_name}


def _tokens(spec: ModelSpec, graph: SubgraphBuilder, count: int) -> _Decode:
    tokens = graph.input("tokens", (1, count), torch.int32)
    return lambda dialect: decode(spec, dialect, tokens)


def _vectors(spec: ModelSpec, graph: SubgraphBuilder, count: int) -> _Decode:
    embedded = graph.input("embeddings", (1, count, spec.hidden_size), torch.float32)
    rows = None
    if (ple := spec.per_layer_embedding) is not None:
        shape = (1, count, len(spec.layers), ple.width)
        rows = graph.input("per_layer_embeddings", shape, torch.float32)
    return lambda dialect: decode_embedded(spec, dialect, embedded, rows)


@dataclass(frozen=True)
class _Shared:
    """What both signatures have in common. slots: of the cache each layer index owns."""

    spec: ModelSpec
    stores: Mapping[str, MatrixStore]
    gains: Mapping[str, NDArray[np.float32]]
    context: int
    slots: Mapping[int, int]


_Decode = Callable[[LiteRtDialect], Tensor]
_Entry = Callable[[ModelSpec, SubgraphBuilder, int], _Decode]
"""Declares the inputs that stand for so many tokens; returns what makes logits of them."""


def _build(
    checkpoint: QuantizedCheckpoint,
    builder: ModelBuilder,
    stores: Mapping[str, MatrixStore],
    context: int,
    chunk: int,
    entry: _Entry,
) -> LiteRtGraph:
    spec = checkpoint.components["text"].spec
    slots = {layer.index: LITERT.cache_slots(spec, layer, context, chunk) for layer in spec.cache_layers}
    shared = _Shared(spec, stores, checkpoint.components["text"].gains(), context, slots)
    for name, count in ((prefill_name(chunk), chunk), (DECODE, 1)):
        graph = SubgraphBuilder(builder, name)
        run = entry(spec, graph, count)
        _trace(shared, graph, count, run)
    return LiteRtGraph(builder.model, stores)


def _trace(shared: _Shared, graph: SubgraphBuilder, count: int, run: _Decode) -> None:
    """Add a signature for so many tokens."""
    spec, stores, slots = shared.spec, shared.stores, shared.slots
    positions = graph.input("input_pos", (count,), torch.int32)
    mask = graph.input("mask", (1, 1, count, shared.context), torch.float32)
    tensors = {}
    for layer in spec.cache_layers:
        keys, values = (
            (1, layer.kv_heads, slots[layer.index], layer.head_dim),
            (1, layer.kv_heads, layer.head_dim, slots[layer.index]),
        )
        tensors[layer.index] = (
            graph.input(f"kv_cache_k_{layer.index}", keys, torch.float32),
            graph.input(f"kv_cache_v_{layer.index}", values, torch.float32),
        )
    ops = Operations(graph)
    split = frozenset(name for name, store in stores.items() if _is_split(store.matrix.scheme))
    caches = CacheTensors(ops, positions, mask, tensors)
    dialect = LiteRtDialect(
        ops,
        values_in(graph, stores),
        shared.gains,
        spec,
        LITERT_STREAM.scale(spec),
        split,
        factors_in(graph, stores),
        positions,
        shared.context,
        caches,
    )
    with ArithmeticTracer(ops):
        logits = run(dialect)
    outputs = {}
    for layer in spec.cache_layers:
        keys_out, values_out = caches[layer.index]
        outputs[f"kv_cache_k_{layer.index}"] = keys_out
        outputs[f"kv_cache_v_{layer.index}"] = values_out
    # Without logits as an output, what only they depend on (head, last MLP) is dropped from a prefill.
    graph.finish({**outputs, "logits": logits} if graph.name == DECODE else outputs)


def _is_split(scheme: Scheme) -> bool:
    # Beside 4-bit weights the rounding of activations is a small part of the error, and not worth its time.
    return isinstance(scheme, IntegerScheme) and scheme.bits >= SPLIT_FROM_BITS
