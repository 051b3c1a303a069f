"""The graph LiteRT-LM expects of a text model: signatures `prefill_<n>` and `decode`.

Inputs of each: tokens [1, n] int32, input_pos [n] int32, mask [1, 1, n, context] float32, and for each
layer that owns a cache kv_cache_k_<layer> and kv_cache_v_<layer> (`cache_tensors`), which come back
updated. `decode` (n = 1) also returns logits [1, 1, vocab]. Beside embedders of its own (`embedders`) a
model takes, for tokens, embeddings [1, n, hidden] and per_layer_embeddings [1, n, layers, width], float32.
Where tokens of an image see each other in sliding layers alone there is local_mask, these layers' own. Not
about bundles or files.
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
from exporter.formats.litert_graph import is_split
from exporter.lowering.litert.cache_tensors import CacheTensors
from exporter.lowering.litert.dialect import LiteRtDialect
from exporter.lowering.litert.graph import ModelBuilder, SubgraphBuilder
from exporter.lowering.litert.linears import Linears
from exporter.lowering.litert.operations import Operations
from exporter.lowering.litert.row_marks import GraphMarks, ImagesInText, RowsInText, masks_of_call
from exporter.lowering.litert.storage import ALIGNMENT, ExternalData, MatrixStore, factors_in, values_in
from exporter.lowering.litert.tracing import ArithmeticTracer
from exporter.models.text.decoder import decode, decode_embedded
from exporter.models.text.spec import ModelSpec
from exporter.quantization.store.checkpoint import QuantizedCheckpoint
from runtimes.litert.container import SECTION_ALIGNMENT

DECODE = "decode"


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
    return _build(checkpoint, builder, stores, _Lengths(context, chunk), _tokens)


def build_embedded_graph(
    checkpoint: QuantizedCheckpoint, context: int, chunk: int, rows: RowsInText | None = None
) -> LiteRtGraph:
    """As `build_graph`, for what embedders make of tokens, without the tables these look up.

    A tied embedding is here, being the head, where a section of a bundle may begin. rows: None for text
    alone.
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
    return _build(checkpoint, builder, stores, _Lengths(context, chunk), _vectors, rows)


def _tables(spec: ModelSpec) -> set[str]:
    """Matrices that are looked up, whatever else they are."""
    return {spec.per_layer_embedding_name, spec.embedding_name}


def _tokens(shared: _Shared, ops: Operations, count: int) -> _Entered:
    tokens = ops.graph.input("tokens", (1, count), torch.int32)
    return _Entered(lambda dialect: decode(shared.spec, dialect, tokens))


def _vectors(shared: _Shared, ops: Operations, count: int) -> _Entered:
    spec = shared.spec
    embedded = ops.graph.input("embeddings", (1, count, spec.hidden_size), torch.float32)
    marks = None if shared.rows is None else GraphMarks.of(ops, shared.rows, embedded)
    rows = None
    if (ple := spec.per_layer_embedding) is not None:
        shape = (1, count, len(spec.layers), ple.width)
        rows = ops.graph.input("per_layer_embeddings", shape, torch.float32)
        rows = rows if marks is None else marks.with_own_rows(rows)
    return _Entered(lambda dialect: decode_embedded(spec, dialect, embedded, rows), marks)


@dataclass(frozen=True)
class _Lengths:
    """In tokens."""

    context: int
    chunk: int

    @property
    def calls(self) -> dict[str, int]:
        """Of every signature."""
        return {prefill_name(self.chunk): self.chunk, DECODE: 1}


@dataclass(frozen=True)
class _Shared:
    """What all signatures have in common. slots: of the cache each layer index owns."""

    spec: ModelSpec
    stores: Mapping[str, MatrixStore]
    gains: Mapping[str, NDArray[np.float32]]
    context: int
    slots: Mapping[int, int]
    rows: RowsInText | None

    @property
    def images(self) -> ImagesInText | None:
        return None if self.rows is None else self.rows.images


@dataclass(frozen=True)
class _Entered:
    """decode: what makes logits of a signature's inputs. marks: of images and sounds among them."""

    decode: Callable[[LiteRtDialect], Tensor]
    marks: GraphMarks | None = None


_Entry = Callable[[_Shared, Operations, int], _Entered]
"""Declares the inputs that stand for so many tokens."""


def _build(
    checkpoint: QuantizedCheckpoint,
    builder: ModelBuilder,
    stores: Mapping[str, MatrixStore],
    lengths: _Lengths,
    entry: _Entry,
    rows: RowsInText | None = None,
) -> LiteRtGraph:
    text = checkpoint.components["text"]
    spec, calls = text.spec, lengths.calls
    slots = {
        layer.index: LITERT.cache_slots(spec, layer, lengths.context, max(calls.values()))
        for layer in spec.cache_layers
    }
    shared = _Shared(spec, stores, text.gains(), lengths.context, slots, rows)
    for name, count in calls.items():
        ops = Operations(SubgraphBuilder(builder, name))
        _trace(shared, ops, count, entry(shared, ops, count))
    return LiteRtGraph(builder.model, stores)


def _trace(shared: _Shared, ops: Operations, count: int, entered: _Entered) -> None:
    """Add a signature for so many tokens."""
    spec, stores, slots, graph = shared.spec, shared.stores, shared.slots, ops.graph
    positions = graph.input("input_pos", (count,), torch.int32)
    mask, sliding_mask = masks_of_call(ops, count, shared.context, shared.images)
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
    if sliding_mask is not None and entered.marks is not None:
        mask, sliding_mask = (entered.marks.closed(each, positions) for each in (mask, sliding_mask))
    caches = CacheTensors(ops, positions, mask, tensors, sliding_mask)
    weight = values_in(graph, stores)
    linears = Linears(
        ops, weight, lambda name: is_split(stores[name].matrix.scheme), factors_in(graph, stores)
    )
    dialect = LiteRtDialect(
        ops,
        weight,
        shared.gains,
        spec,
        LITERT_STREAM.scale(spec),
        linears,
        positions,
        shared.context,
        caches,
    )
    with ArithmeticTracer(ops):
        logits = entered.decode(dialect)
    outputs = {}
    for layer in spec.cache_layers:
        keys_out, values_out = caches[layer.index]
        outputs[f"kv_cache_k_{layer.index}"] = keys_out
        outputs[f"kv_cache_v_{layer.index}"] = values_out
    # Without logits as an output, what only they depend on (head, last MLP) is dropped from a prefill.
    graph.finish({**outputs, "logits": logits} if graph.name == DECODE else outputs)
