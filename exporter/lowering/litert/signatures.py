"""The graph LiteRT-LM expects of a text model: signatures `prefill_<n>` and `decode`.

Inputs of each: tokens [1, n] int32, input_pos [n] int32, mask [1, 1, n, context] float32, and for each
layer that owns a cache kv_cache_k_<layer> and kv_cache_v_<layer>, which come back updated. `decode`
(n = 1) also returns logits [1, 1, vocab]. Not about bundles or files.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from exporter.lowering.litert.dialect import LiteRtDialect
from exporter.lowering.litert.graph import ModelBuilder, SubgraphBuilder
from exporter.lowering.litert.operations import Operations
from exporter.lowering.litert.storage import ExternalData, MatrixStore
from exporter.lowering.litert.tracing import ArithmeticTracer
from exporter.models.decoder import decode
from exporter.models.spec import ModelSpec
from exporter.planning.scheme import IntegerScheme, Scheme
from exporter.quantization.checkpoint import QuantizedCheckpoint

DECODE = "decode"
SPLIT_FROM_BITS = 8


def prefill_name(chunk: int) -> str:
    return f"prefill_{chunk}"


@dataclass(frozen=True)
class LiteRtGraph:
    """A schema ModelT whose external buffers have sizes but no places yet, and their bytes."""

    model: Any
    external: tuple[ExternalData, ...]


def build_graph(checkpoint: QuantizedCheckpoint, context: int, chunk: int) -> LiteRtGraph:
    """Both signatures over one set of weights. Holds no matrix data, only per-row scales."""
    builder = ModelBuilder()
    stores = {name: MatrixStore.of(matrix, builder) for name, matrix in checkpoint.matrices.items()}
    gains = checkpoint.gains()
    for name, tokens in ((prefill_name(chunk), chunk), (DECODE, 1)):
        _trace(checkpoint.spec, SubgraphBuilder(builder, name), stores, gains, context, tokens)
    return LiteRtGraph(builder.model, tuple(part for store in stores.values() for part in store.data))


def _trace(
    spec: ModelSpec,
    graph: SubgraphBuilder,
    stores: Mapping[str, MatrixStore],
    gains: Mapping[str, NDArray[np.float32]],
    context: int,
    count: int,
) -> None:
    tokens = graph.input("tokens", (1, count), torch.int32)
    positions = graph.input("input_pos", (count,), torch.int32)
    mask = graph.input("mask", (1, 1, count, context), torch.float32)
    caches = {}
    for layer in spec.cache_layers:
        keys, values = (
            (1, layer.kv_heads, context, layer.head_dim),
            (1, layer.kv_heads, layer.head_dim, context),
        )
        caches[layer.index] = (
            graph.input(f"kv_cache_k_{layer.index}", keys, torch.float32),
            graph.input(f"kv_cache_v_{layer.index}", values, torch.float32),
        )
    known: dict[str, Tensor] = {}

    def weight(name: str) -> Tensor:
        if name not in known:
            known[name] = stores[name].value_in(graph)
        return known[name]

    ops = Operations(graph)
    split = frozenset(name for name, store in stores.items() if _is_split(store.matrix.scheme))
    dialect = LiteRtDialect(spec, ops, weight, split, gains, positions, mask, caches)
    with ArithmeticTracer(ops):
        logits = decode(spec, dialect, tokens)
    outputs = {}
    for layer in spec.cache_layers:
        keys_out, values_out = dialect.caches[layer.index]
        outputs[f"kv_cache_k_{layer.index}"] = keys_out
        outputs[f"kv_cache_v_{layer.index}"] = values_out
    # Without logits as an output, what only they depend on (head, last MLP) is dropped from a prefill.
    graph.finish({**outputs, "logits": logits} if graph.name == DECODE else outputs)


def _is_split(scheme: Scheme) -> bool:
    # Beside 4-bit weights the rounding of activations is a small part of the error, and not worth its time.
    return isinstance(scheme, IntegerScheme) and scheme.bits >= SPLIT_FROM_BITS
