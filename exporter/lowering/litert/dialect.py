"""`LiteRtDialect`: the decoder in LiteRT's operations; `LiteRtLookup`, its part that tokens go through.

Not about how weights are stored (`storage`) or where keys and values are kept (`cache_tensors`).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from exporter.lowering.litert.cache_tensors import CacheTensors
from exporter.lowering.litert.linears import Linears, root_mean_square_normed
from exporter.lowering.litert.operations import Operations
from exporter.models.text.rotary import inverse_frequencies
from exporter.models.text.spec import LayerSpec, ModelSpec, Rope

# Of constants in the file, so that a reader finds them.
COSINES_NAME, SINES_NAME = "rope_cosines", "rope_sines"


@dataclass
class LiteRtLookup:
    """Satisfies `Lookup` for one signature.

    weight: the value of a matrix by name. gains: norms and scalars, 1 already added.
    """

    ops: Operations
    weight: Callable[[str], Tensor]
    gains: Mapping[str, NDArray[np.float32]]

    def embed(self, tokens: Tensor, weight: str) -> Tensor:
        count = tokens.shape[1]
        rows = self.ops.embedding(self.ops.reshape(tokens, [count]), self.weight(weight))
        return self.ops.reshape(rows, [1, count, rows.shape[1]])

    def vector(self, name: str) -> Tensor:
        return self.ops.graph.constant(self.gains[name], name)


@dataclass
class LiteRtDialect(LiteRtLookup):
    """Satisfies `Dialect` for one signature.

    residual_scale: how small the residual stream is kept, so that fp16 holds it.
    linears: its matrices that are multiplied with.
    positions: [tokens] int32. context: that they lie in. caches: updated by `attend`.
    """

    spec: ModelSpec
    residual_scale: float
    linears: Linears
    positions: Tensor
    context: int
    caches: CacheTensors
    _rotations: dict[tuple[Rope, int], tuple[Tensor, Tensor]] = field(default_factory=dict)

    def project(self, x: Tensor, weights: Sequence[str]) -> Sequence[Tensor]:
        return self.linears.project(x, weights)

    def norm(self, x: Tensor, gain: str | None, eps: float, scale: float = 1.0) -> Tensor:
        y = root_mean_square_normed(self.ops, x, eps)
        if gain is not None:
            y = self.ops.multiply(y, self.ops.graph.constant(self.gains[gain] * np.float32(scale), gain))
        elif scale != 1.0:
            y = self.ops.multiply(y, scale)
        return y

    def attend(self, layer: LayerSpec, q: Tensor, k: Tensor | None, v: Tensor | None) -> Tensor:
        ops, tokens, group = self.ops, q.shape[1], layer.heads // layer.kv_heads
        if k is not None and v is not None:
            self.caches.append(layer, self._rotate(layer, k), v)
        keys, values = self.caches[layer.kv_source]

        # Query heads of one KV head lie together, so grouping them is a reshape.
        q = ops.transpose(ops.multiply(self._rotate(layer, q), self.spec.query_scale), [0, 2, 1, 3])
        q = ops.reshape(q, [1, layer.kv_heads, group * tokens, layer.head_dim])
        scores = ops.matmul_transposed(q, keys)  # [1, kv_heads, group * tokens, slots]
        if self.spec.attention_softcap is not None:
            scores = self.softcap(scores, self.spec.attention_softcap)
        shares = ops.softmax(ops.add(scores, self.caches.mask(layer, group)))
        attended = ops.matmul_transposed(shares, values)  # [1, kv_heads, group * tokens, head_dim]
        attended = ops.reshape(attended, [1, layer.heads, tokens, layer.head_dim])
        return ops.reshape(ops.transpose(attended, [0, 2, 1, 3]), [1, tokens, layer.heads * layer.head_dim])

    def gelu(self, x: Tensor) -> Tensor:
        return self.ops.gelu(x)

    def softcap(self, x: Tensor, cap: float) -> Tensor:
        return self.ops.multiply(self.ops.tanh(self.ops.multiply(x, 1.0 / cap)), cap)

    def wanted_positions(self, x: Tensor) -> Tensor:
        return x

    def _rotate(self, layer: LayerSpec, x: Tensor) -> Tensor:
        """RoPE on x [1, tokens, heads, head_dim].

        (a, b) becomes (a cos - b sin, b cos + a sin): the halves swapped, times a sine whose first
        half is negative.
        """
        ops, half = self.ops, layer.head_dim // 2
        cos, sin = self._rotation(layer)
        swapped = ops.concatenate([ops.slice(x, 3, half, 2 * half), ops.slice(x, 3, 0, half)], axis=3)
        return ops.add(ops.multiply(x, cos), ops.multiply(swapped, sin))

    def _rotation(self, layer: LayerSpec) -> tuple[Tensor, Tensor]:
        """cos and sin of this call's positions, [1, tokens, 1, head_dim], the first half of sin negative.

        Looked up: fp16 holds no angle of a few thousand to a tenth (cos was off by 0.87 at position 3001).
        Layers of one RoPE share them, signatures share the tables.
        """
        key = (layer.rope, layer.head_dim)
        if key not in self._rotations:
            ops, tokens, half = self.ops, self.positions.shape[0], layer.head_dim // 2
            cosines, sines = rotation_tables(*key, self.context)
            cos, sin = (
                ops.reshape(
                    ops.gather(ops.graph.constant(table, name), self.positions, 0), [1, tokens, 1, half]
                )
                for table, name in ((cosines, COSINES_NAME), (sines, SINES_NAME))
            )
            negative = ops.multiply(sin, -1.0)
            self._rotations[key] = (
                ops.concatenate([cos, cos], axis=3),
                ops.concatenate([negative, sin], axis=3),
            )
        return self._rotations[key]


def rotation_tables(
    rope: Rope, head_dim: int, context: int
) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Cosines and sines of every position's angles, [context, head_dim / 2], as transformers has them."""
    angles = torch.arange(context)[:, None].float() * inverse_frequencies(rope, head_dim)
    return angles.cos().numpy(), angles.sin().numpy()
