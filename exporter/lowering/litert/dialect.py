"""`LiteRtDialect`: the decoder in LiteRT's operations; `LiteRtLookup`, its part that tokens go through.

Not about how weights are stored (`storage`) or where keys and values are kept (`cache_tensors`).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from exporter.lowering.litert.cache_tensors import CacheTensors
from exporter.lowering.litert.operations import Operations
from exporter.models.text.rotary import inverse_frequencies
from exporter.models.text.spec import LayerSpec, ModelSpec, Rope

SMALLEST_SPAN = 1e-30  # of a row of activations: only keeps 0 / 0 away
FREQUENCIES_NAME = "rope_frequencies"  # of a constant in the file, so that a reader finds it


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

    split: matrices whose input is given in two parts, so that XNNPACK's rounding of it costs nothing.
    positions: [tokens] int32. caches: updated by `attend`.
    """

    spec: ModelSpec
    split: frozenset[str]
    positions: Tensor
    caches: CacheTensors
    _rotations: dict[tuple[Rope, int], tuple[Tensor, Tensor]] = field(default_factory=dict)

    @property
    def residual_scale(self) -> float:
        return 1.0

    def project(self, x: Tensor, weights: Sequence[str]) -> Sequence[Tensor]:
        results, parts = [], None
        for name in weights:
            if name not in self.split:
                results.append(self.ops.fully_connected(x, self.weight(name)))
                continue
            if parts is None:
                parts = self._coarse_and_rest(x)
            both = self.ops.fully_connected(parts, self.weight(name))
            results.append(self.ops.sum_first(both))
        return results

    def norm(self, x: Tensor, gain: str | None, eps: float, scale: float = 1.0) -> Tensor:
        ops = self.ops
        y = ops.multiply(x, ops.rsqrt(ops.add(ops.mean(ops.multiply(x, x)), eps)))
        if gain is not None:
            y = ops.multiply(y, ops.graph.constant(self.gains[gain] * np.float32(scale), gain))
        elif scale != 1.0:
            y = ops.multiply(y, scale)
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

    def _coarse_and_rest(self, x: Tensor) -> Tensor:
        """[1, tokens, in] to [2, tokens, in], which sum to x: as XNNPACK would round it, and the rest.

        XNNPACK rounds each row to 255 steps from its smallest to its largest value, 0 among them: the
        coarse part lies on those steps and passes unchanged, the rest is at most half a step and keeps
        8 bits more. Exact for kernels that do not round.
        """
        ops = self.ops
        high, low = ops.maximum(ops.largest(x), 0.0), ops.minimum(ops.smallest(x), 0.0)
        span = ops.maximum(ops.subtract(high, low), SMALLEST_SPAN)
        step = ops.multiply(span, 1.0 / 255)
        coarse = ops.multiply(ops.round(ops.divide(x, step)), step)
        return ops.concatenate([coarse, ops.subtract(x, coarse)], axis=0)

    def _rotate(self, layer: LayerSpec, x: Tensor) -> Tensor:
        """RoPE on x [1, tokens, heads, head_dim].

        (a, b) becomes (a cos - b sin, b cos + a sin): the halves swapped, times a sine whose first
        half is negative. Negative frequencies give exactly that sine, and the same cosine.
        """
        ops, half = self.ops, layer.head_dim // 2
        if (layer.rope, layer.head_dim) not in self._rotations:
            frequencies = inverse_frequencies(layer.rope, layer.head_dim).numpy()
            signed = ops.graph.constant(np.concatenate([-frequencies, frequencies]), FREQUENCIES_NAME)
            at = ops.reshape(ops.to_float(self.positions), [1, self.positions.shape[0], 1, 1])
            angles = ops.multiply(at, signed)  # [1, tokens, 1, head_dim]
            self._rotations[layer.rope, layer.head_dim] = (ops.cos(angles), ops.sin(angles))
        cos, sin = self._rotations[layer.rope, layer.head_dim]
        swapped = ops.concatenate([ops.slice(x, 3, half, 2 * half), ops.slice(x, 3, 0, half)], axis=3)
        return ops.add(ops.multiply(x, cos), ops.multiply(swapped, sin))
