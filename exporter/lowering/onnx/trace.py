"""From the decoder to an ONNX graph: its inputs and outputs, and one run of `decode` between them.

Not about giving stored tensors their bytes (`external_data`).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

from exporter.lowering.onnx.attention_operators import AttentionInputs, AttentionOperators, Caches
from exporter.lowering.onnx.dialect import OnnxDialect
from exporter.lowering.onnx.graph_builder import PAST, TOKENS, TOTAL, GraphBuilder
from exporter.lowering.onnx.integer_operators import IntegerOperators
from exporter.lowering.onnx.matrix_operators import MatrixOperators
from exporter.models.text.decoder import decode
from exporter.models.text.spec import ModelSpec
from exporter.quantization.store.checkpoint import Matrix


@dataclass(frozen=True)
class GraphOrder:
    """What the graph is to compute, by which operators, and what comes out."""

    spec: ModelSpec
    matrices: Mapping[str, Matrix]
    integers: IntegerOperators
    attention: Callable[[AttentionInputs], AttentionOperators]
    context: int
    all_logits: bool


def trace(order: GraphOrder) -> GraphBuilder:
    """Build the graph.

    Inputs: input_ids [1, tokens], attention_mask [1, past + tokens], past_key_values.i.{key,value}
    [1, kv_heads, past, head_dim] of the i-th layer that owns a cache. Outputs: logits [1, tokens or
    1, vocab], present.i.{key,value}. Raises LoweringError for an operation it cannot express.
    """
    spec = order.spec
    with GraphBuilder() as graph:
        tokens = graph.input("input_ids", torch.int64, (1, TOKENS))
        mask = graph.input("attention_mask", torch.int64, (1, TOTAL))
        pasts = cache_inputs(graph, spec)
        attention = order.attention(AttentionInputs(spec, order.context, graph, tokens, mask, pasts))
        matrices = MatrixOperators(order.matrices, order.integers, graph)
        ops = OnnxDialect(spec, matrices, attention, order.all_logits)
        put_out(graph, order, decode(spec, ops, tokens), attention.presents)
    return graph


def cache_inputs(graph: GraphBuilder, spec: ModelSpec) -> Caches:
    """Caches before a call, as inputs."""
    pasts = {}
    for number, layer in enumerate(spec.cache_layers):
        sides = (1, layer.kv_heads, PAST, layer.head_dim)
        key, value = (
            graph.input(f"past_key_values.{number}.{part}", torch.float32, sides)
            for part in ("key", "value")
        )
        pasts[layer.index] = key, value
    return pasts


def put_out(graph: GraphBuilder, order: GraphOrder, logits: Tensor, presents: Caches) -> None:
    """Make logits and caches after a call the outputs."""
    spec = order.spec
    graph.output(logits, "logits", (1, TOKENS if order.all_logits else 1, spec.vocab_size))
    for number, layer in enumerate(spec.cache_layers):
        sides = (1, layer.kv_heads, TOTAL, layer.head_dim)
        for part, present in zip(("key", "value"), presents[layer.index], strict=True):
            graph.output(present, f"present.{number}.{part}", sides)
