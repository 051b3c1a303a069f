"""`AttentionOperators`: which operators attend over a cache; ONNX Runtime's own GroupQueryAttention.

A graph has one choice. `KernelAttention` is that of processors: one kernel rotates, appends in place and
attends. A browser's is `web_attention`. Not about projections and norms (`dialect`).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Protocol

import numpy as np
import torch
from torch import Tensor

from exporter.lowering.onnx.graph_builder import CONTRIB, EXAMPLE, TOTAL, GraphBuilder
from exporter.lowering.onnx.image_blocks import ImageBlocks
from exporter.lowering.onnx.stored_tensors import DataTensor, RopeTable
from exporter.models.text.spec import LayerSpec, ModelSpec

Caches = Mapping[int, tuple[Tensor, Tensor]]
"""Layer index to keys and values, [1, kv_heads, positions, head_dim] each."""


@dataclass(frozen=True)
class AttentionInputs:
    """context: positions of the RoPE tables. tokens [1, tokens, ...], mask [1, past + tokens]: the graph's
    inputs. pasts: caches before the call, of the layers that own one. blocks: None for text alone."""

    spec: ModelSpec
    context: int
    graph: GraphBuilder
    tokens: Tensor
    mask: Tensor
    pasts: Caches
    blocks: ImageBlocks | None = None


class AttentionOperators(Protocol):
    """Made for one trace. presents: caches after the call, of the layers that have attended."""

    @property
    def presents(self) -> Caches: ...

    def attend(self, layer: LayerSpec, q: Tensor, k: Tensor | None, v: Tensor | None) -> Tensor:
        """As `Dialect.attend`: q [1, tokens, heads, head_dim] to [1, tokens, heads * head_dim]."""
        ...


class KernelAttention:
    """GroupQueryAttention on float tables and the mask's length. Satisfies `AttentionOperators`."""

    def __init__(self, given: AttentionInputs) -> None:
        self._given = given
        self._last_key, self._total = _lengths(given.graph, given.mask)
        self.presents: dict[int, tuple[Tensor, Tensor]] = {}

    def attend(self, layer: LayerSpec, q: Tensor, k: Tensor | None, v: Tensor | None) -> Tensor:
        spec, graph = self._given.spec, self._given.graph
        tokens, queries = q.shape[1], layer.heads * layer.head_dim
        q = q.reshape(1, tokens, queries)
        if k is not None and v is not None:
            past = self._given.pasts[layer.index]
            width = layer.kv_heads * layer.head_dim
            k, v = k.reshape(1, tokens, width), v.reshape(1, tokens, width)
        else:
            # The source layer's cache already holds this call's keys: nothing is appended to it.
            past = self.presents[layer.kv_source]
            k = v = self._no_tokens(layer)
        tables = rope_tables(graph, layer, self._given.context)
        operands: tuple[Tensor | None, ...] = (q, k, v, *past, self._last_key, self._total, *tables)
        window, blocks, causal = layer.window, self._given.blocks, {}
        if blocks is not None and blocks.opens(layer):
            # The bias says all that is seen: causality and windows too.
            operands, window, causal = (*operands, None, blocks.bias(window)), None, {"causal": 0}
        attributes = {
            **causal,
            "do_rotary": 1,
            "kv_num_heads": layer.kv_heads,
            "local_window_size": -1 if window is None else window,
            "num_heads": layer.heads,
            "rotary_interleaved": 0,
            "scale": float(spec.query_scale),
            "softcap": float(spec.attention_softcap or 0.0),
        }
        shapes: list[tuple[int, ...]] = [(1, tokens, queries)]
        if layer.owns_cache:
            shapes += [(1, layer.kv_heads, EXAMPLE[TOTAL], layer.head_dim)] * 2
        kind, name = f"{CONTRIB}::GroupQueryAttention", f"{layer.prefix}self_attn.attention"
        attended, *present = graph.ops(kind, operands, shapes, attributes, name=name)
        if layer.owns_cache:
            self.presents[layer.index] = present[0], present[1]
        return attended

    def _no_tokens(self, layer: LayerSpec) -> Tensor:
        return self._given.graph.constant(np.zeros((1, 0, layer.kv_heads * layer.head_dim), np.float32))


def rope_label(layer: LayerSpec) -> str:
    """One name for layers that rotate alike."""
    rope = layer.rope
    return f"theta{rope.theta:g}_factor{rope.linear_factor:g}_rotated{rope.rotated:g}_{layer.head_dim}"


def rope_tables(graph: GraphBuilder, layer: LayerSpec, context: int) -> tuple[Tensor, Tensor]:
    """Cosines and sines of every position, [context, head_dim / 2]."""
    cos, sin = (
        DataTensor(
            f"rope.{rope_label(layer)}.{function}",
            "float32",
            (context, layer.head_dim // 2),
            RopeTable(layer.rope, layer.head_dim, context, function),
        )
        for function in ("cos", "sin")
    )
    return graph.weight(cos), graph.weight(sin)


def _lengths(graph: GraphBuilder, mask: Tensor) -> tuple[Tensor, Tensor]:
    """int32 [1] each: the mask's ones minus one, which is the position of the call's last token, and the
    mask's length, which is the positions in the cache after the call."""
    axes, one = graph.constant(np.array([1], np.int64)), graph.constant(np.array(1, np.int64))
    seen = graph.op("ReduceSum", (mask, axes), (1,), {"keepdims": 0}, dtype=torch.int64)
    last = graph.op("Sub", (seen, one), (1,), dtype=torch.int64)
    length = graph.op("Shape", (mask,), (1,), {"start": 1, "end": 2}, dtype=torch.int64)
    last_key, total = (
        graph.op("Cast", (value,), (1,), {"to": 6}, dtype=torch.int32) for value in (last, length)
    )
    return last_key, total
