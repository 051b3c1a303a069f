"""`EagerDialect`: the decoder in plain torch, with ring-buffer caches for sliding layers.

The dialect that proves the decoder against transformers. Not a runtime anyone ships, and not a
reference for artifacts: transformers is that.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from exporter.models.text.decoder import decode
from exporter.models.text.rotary import inverse_frequencies, rotate
from exporter.models.text.spec import LayerSpec, ModelSpec, Role


@dataclass
class LayerCache:
    """Keys and values of one layer, slot = position mod capacity.

    keys, values: [1, kv_heads, capacity, head_dim]. positions: [capacity], -1 where empty.
    """

    keys: Tensor
    values: Tensor
    positions: Tensor

    def store(self, position: int, k: Tensor, v: Tensor) -> None:
        """Write k, v [1, kv_heads, tokens, head_dim] at `position` onwards, wrapping around."""
        at = torch.arange(position, position + k.shape[2])
        slots = at % self.keys.shape[2]
        self.keys[:, :, slots] = k
        self.values[:, :, slots] = v
        self.positions[slots] = at


@dataclass
class EagerState:
    """Caches of one conversation, and the position the next token takes."""

    caches: dict[int, LayerCache]
    position: int = 0

    @staticmethod
    def empty(spec: ModelSpec, context: int, chunk: int) -> EagerState:
        """Full layers hold `context` positions; sliding ones window + chunk - 1, so that a chunk's
        first query still finds its whole window after the chunk is written."""
        caches = {}
        for layer in spec.cache_layers:
            capacity = context if layer.window is None else min(context, layer.window + chunk - 1)
            shape = (1, layer.kv_heads, capacity, layer.head_dim)
            empty = torch.full((capacity,), -1)
            caches[layer.index] = LayerCache(torch.zeros(shape), torch.zeros(shape), empty)
        return EagerState(caches)


@dataclass
class EagerDialect:
    """Satisfies `Dialect` for one forward pass. `weights` holds gains with 1 already added."""

    spec: ModelSpec
    weights: Mapping[str, Tensor]
    state: EagerState
    residual_scale: float = 1.0

    def embed(self, tokens: Tensor, weight: str) -> Tensor:
        return F.embedding(tokens, self.weights[weight])

    def project(self, x: Tensor, weights: Sequence[str]) -> Sequence[Tensor]:
        return [F.linear(x, self.weights[name]) for name in weights]

    def norm(self, x: Tensor, gain: str | None, eps: float, scale: float = 1.0) -> Tensor:
        y = x * torch.rsqrt(x.pow(2).mean(-1, keepdim=True) + eps)
        return y * scale if gain is None else y * (self.weights[gain] * scale)

    def attend(self, layer: LayerSpec, q: Tensor, k: Tensor | None, v: Tensor | None) -> Tensor:
        start, tokens = self.state.position, q.shape[1]
        at = torch.arange(start, start + tokens)
        angles = at[:, None].float() * inverse_frequencies(layer.rope, layer.head_dim)
        cos = torch.cat([angles.cos()] * 2, dim=-1)[:, None]  # [tokens, 1, head_dim]
        sin = torch.cat([angles.sin()] * 2, dim=-1)[:, None]
        cache = self.state.caches[layer.kv_source]
        if k is not None and v is not None:
            cache.store(start, rotate(k, cos, sin).transpose(1, 2), v.transpose(1, 2))
        queries = rotate(q, cos, sin).transpose(1, 2)  # [1, heads, tokens, head_dim]

        group = layer.heads // layer.kv_heads
        keys = cache.keys.repeat_interleave(group, dim=1)
        values = cache.values.repeat_interleave(group, dim=1)
        scores = queries @ keys.transpose(2, 3) * self.spec.query_scale
        if self.spec.attention_softcap is not None:
            scores = self.softcap(scores, self.spec.attention_softcap)
        seen = self.seen(layer, at, cache.positions)
        attended = torch.softmax(scores.masked_fill(~seen, -torch.inf), dim=-1) @ values
        return attended.transpose(1, 2).reshape(1, tokens, layer.heads * layer.head_dim)

    def seen(self, layer: LayerSpec, at: Tensor, positions: Tensor) -> Tensor:
        """Which of `positions` [capacity], -1 where nothing is, each query of `at` [tokens] attends to."""
        distance = at[:, None] - positions[None]
        seen = (positions >= 0) & (distance >= 0)
        return seen if layer.window is None else seen & (distance < layer.window)

    def gelu(self, x: Tensor) -> Tensor:
        return F.gelu(x, approximate="tanh")

    def softcap(self, x: Tensor, cap: float) -> Tensor:
        return torch.tanh(x / cap) * cap

    def vector(self, name: str) -> Tensor:
        return self.weights[name]

    def wanted_positions(self, x: Tensor) -> Tensor:
        return x


def effective_weights(spec: ModelSpec, weights: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The weights in float32 as the decoder multiplies by them: 1 added to norms that need it."""
    return {
        weight.name: weights[weight.name].float()
        + (1.0 if spec.norm_adds_one and weight.role is Role.NORM else 0.0)
        for weight in spec.weights()
    }


def run_eagerly(
    spec: ModelSpec, weights: Mapping[str, Tensor], state: EagerState, tokens: Tensor
) -> Tensor:
    """Logits [tokens, vocab] of the next tokens [tokens]; the state moves on by as many."""
    ops = EagerDialect(spec, weights, state)
    with torch.no_grad():
        logits = decode(spec, ops, tokens[None])[0]
    state.position += tokens.shape[0]
    return logits
