"""`CoreMlDialect`: the decoder as operations Core ML keeps exact in half precision.

Choices that come from fp16 arithmetic and from Core ML's callers:
  - RMSNorm divides by the row's largest magnitude before it squares anything: no sum, product or
    accumulator leaves [0, width], whatever the hardware rounds inside an operation.
  - The causal mask and the sliding window are derived from the inputs' lengths, so a caller that
    passes a mask of zeros (swift-transformers) is served like one that passes a real mask.
  - A cache slot that was never written (all zeros) is not attended to: swift-transformers counts one
    position too many, which leaves slot 0 empty and shifts every position by one; RoPE does not mind.

Matrices are graph inputs here; `binding` puts the checkpoint's bytes in their place later.
Not about tracing (`tracing`) or files.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import torch
import torch.nn.functional as F
from torch import Tensor

from exporter.lowering.coreml.cache_states import CacheStates, Rows
from exporter.lowering.coreml.graph_nodes import placeholder_linear
from exporter.models.text.rotary import inverse_frequencies, rotate
from exporter.models.text.spec import LayerSpec, ModelSpec, Rope

MASKED = -1e4  # added to a score: exp() of the difference is 0 in fp16, and two of them stay finite


@dataclass(frozen=True)
class GraphConstants:
    """Tensors that stay in the graph as constants.

    gains: (weight name, factor) to gain times factor. roots: a norm's eps to its square root.
    positions: -1, 0, 1 and so on, [context + 1] int32: the row of position p is p + 1. rotations: (RoPE,
    head size) to cosines and sines, [context, head_dim / 2].
    """

    gains: Mapping[tuple[str, float], Tensor]
    roots: Mapping[float, Tensor]
    positions: Tensor
    rotations: Mapping[tuple[Rope, int], tuple[Tensor, Tensor]]


def constants(
    spec: ModelSpec, gains: Mapping[str, Tensor], context: int, residual_scale: float
) -> GraphConstants:
    """Everything small, computed before the trace so that no arithmetic on it is recorded."""
    positions = torch.arange(-1, context, dtype=torch.int32)
    rotations = {}
    for layer in spec.layers:
        key = (layer.rope, layer.head_dim)
        if key not in rotations:
            angles = positions[1:, None].float() * inverse_frequencies(*key)
            rotations[key] = (angles.cos(), angles.sin())
    scaled = {
        (name, factor): gain * factor for name, gain in gains.items() for factor in {1.0, residual_scale}
    }
    every_eps = {spec.norm_eps, spec.norm_eps * residual_scale**2}
    roots = {eps: torch.tensor(math.sqrt(eps)) for eps in every_eps}
    return GraphConstants(scaled, roots, positions, rotations)


@dataclass(frozen=True)
class NumberedImages:
    """Which positions are of one image, whose tokens see each other in both directions.

    numbers: imageBlocks [1, end] int32, 0 for text. everywhere: in full layers too, not in sliding ones
    alone.
    """

    numbers: Tensor
    everywhere: bool


@dataclass
class CoreMlDialect:
    """Satisfies `Dialect` for one traced forward pass.

    weights: matrices by name, graph inputs. mask: causalMask [1, 1, rows, end]; rows is tokens or 1, end
    the position after this call. tokens: how many come in now. caches: for this call. blocks: None where
    no token sees one behind it.
    """

    spec: ModelSpec
    residual_scale: float
    weights: Mapping[str, Tensor]
    constants: GraphConstants
    caches: CacheStates
    mask: Tensor
    tokens: int
    blocks: NumberedImages | None = None
    _biases: dict[int | None, Tensor] = field(default_factory=dict)
    _turns: dict[tuple[Rope, int], tuple[Tensor, Tensor]] = field(default_factory=dict)

    @property
    def end(self) -> int:
        return self.mask.shape[-1]

    @property
    def start(self) -> int:
        return self.end - self.tokens

    def embed(self, tokens: Tensor, weight: str) -> Tensor:
        return F.embedding(tokens, self.weights[weight])

    def project(self, x: Tensor, weights: Sequence[str]) -> Sequence[Tensor]:
        return [placeholder_linear(x, self.weights[name]) for name in weights]

    def norm(self, x: Tensor, gain: str | None, eps: float, scale: float = 1.0) -> Tensor:
        # mean(x²) + eps = peak² (mean((x / peak)²) + (root / peak)²), with peak at least root = √eps
        root = self.constants.roots[eps]
        peak = torch.maximum(torch.amax(torch.abs(x), dim=-1, keepdim=True), root)
        small = x / peak
        floor = root / peak
        mean = torch.mean(small * small, dim=-1, keepdim=True) + floor * floor
        y = small * torch.rsqrt(mean)
        if gain is not None:
            return y * self.constants.gains[gain, scale]
        return y if scale == 1.0 else y * scale

    def attend(self, layer: LayerSpec, q: Tensor, k: Tensor | None, v: Tensor | None) -> Tensor:
        cos, sin = self._turn(layer)
        if k is None or v is None:
            rows = self.caches.shared(layer)
        else:
            rows = self.caches.append(layer, rotate(k.transpose(1, 2), cos, sin), v.transpose(1, 2))
        bias = self._bias(layer.window, rows)
        key, value = _repeat_heads(rows.keys, layer), _repeat_heads(rows.values, layer)
        query = rotate(q.transpose(1, 2), cos, sin)  # [1, heads, tokens, head_dim]
        attended = self._attention(layer.head_dim, query, key, value, bias)
        return attended.transpose(1, 2).reshape(1, self.tokens, layer.heads * layer.head_dim)

    def gelu(self, x: Tensor) -> Tensor:
        return F.gelu(x, approximate="tanh")

    def softcap(self, x: Tensor, cap: float) -> Tensor:
        return torch.tanh(x * (1.0 / cap)) * cap

    def vector(self, name: str) -> Tensor:
        return self.constants.gains[name, 1.0]

    def wanted_positions(self, x: Tensor) -> Tensor:
        return x

    def _attention(self, head_dim: int, query: Tensor, key: Tensor, value: Tensor, bias: Tensor) -> Tensor:
        """[1, heads, tokens, head_dim]."""
        cap = self.spec.attention_softcap
        if cap is not None:
            scores = torch.matmul(query * self.spec.query_scale, key.transpose(2, 3))
            return torch.matmul(torch.softmax(self.softcap(scores, cap) + bias, dim=-1), value)
        # Core ML's operation always divides by the square root of the head size.
        factor = self.spec.query_scale * math.sqrt(head_dim)
        if not math.isclose(factor, 1.0):
            query = query * factor
        return F.scaled_dot_product_attention(query, key, value, attn_mask=bias)

    def _turn(self, layer: LayerSpec) -> tuple[Tensor, Tensor]:
        """cos and sin of this call's positions, [tokens, head_dim]; layers of one RoPE share them."""
        key = (layer.rope, layer.head_dim)
        if key not in self._turns:
            cos, sin = (table[self.start : self.end] for table in self.constants.rotations[key])
            self._turns[key] = (torch.cat([cos, cos], dim=-1), torch.cat([sin, sin], dim=-1))
        return self._turns[key]

    def _bias(self, window: int | None, rows: Rows) -> Tensor:
        """What is added to the scores, [1, 1, tokens, rows]; layers of one window share it.

        The first row may be no one's: a position nobody ever wrote (see above), or none at all.
        """
        if window not in self._biases:
            at, mask = self.constants.positions, self.mask
            first: Tensor | int = 0
            if rows.first is not None:
                first = rows.first
                # The mask counts from position 0: a column for position -1, then from the first row on.
                mask = torch.cat([mask[..., :1], mask], dim=-1)[..., first + 1 :]
            keys_at = at[first + 1 : self.end + 1]
            distance = at[self.start + 1 : self.end + 1][:, None] - keys_at
            written = torch.amax(torch.abs(rows.keys[:, :, :1]), dim=(1, 2, 3), keepdim=True) > 0
            someones = torch.logical_or(keys_at > first, torch.logical_and(written, keys_at >= 0))
            seen = torch.logical_and(self._reached(distance, window, first), someones)
            if window is not None:
                seen = torch.logical_and(seen, distance < window)
            self._biases[window] = (1.0 - seen.to(mask.dtype)) * MASKED + mask
        return self._biases[window]

    def _reached(self, distance: Tensor, window: int | None, first: Tensor | int) -> Tensor:
        """Keys at or before each query, and those of its own image: distance >= 0, or [1, tokens, rows]."""
        before = distance >= 0
        if self.blocks is None or (window is None and not self.blocks.everywhere):
            return before
        numbers = self.blocks.numbers
        queries, keys = numbers[:, self.start : self.end, None], numbers
        if isinstance(first, Tensor):  # as with the mask: a column for position -1
            keys = torch.cat([numbers[:, :1], numbers], dim=-1)[:, first + 1 :]
        same = torch.logical_and(queries == keys[:, None], queries > 0)
        return torch.logical_or(before, same)


def _repeat_heads(cached: Tensor, layer: LayerSpec) -> Tensor:
    """[1, kv_heads, rows, head_dim] to [1, heads, rows, head_dim]."""
    times = layer.heads // layer.kv_heads
    if times == 1:
        return cached
    if layer.kv_heads == 1:
        return cached.repeat(1, times, 1, 1)
    repeated = cached[:, :, None].repeat(1, 1, times, 1, 1)
    return repeated.reshape(1, layer.heads, -1, layer.head_dim)
