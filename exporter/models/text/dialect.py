"""`Dialect`: how one runtime expresses the operations the decoder is made of.

The decoder (`exporter.models.text.decoder`) says what Gemma computes; a dialect says how a linear, an
embedding, a norm or attention over its cache is written for one runtime. A dialect lives for one
forward pass: it is constructed with that call's weights, positions, masks and caches.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from torch import Tensor

from exporter.models.text.spec import LayerSpec


class Lookup(Protocol):
    """The part of a dialect that turns tokens into vectors."""

    def embed(self, tokens: Tensor, weight: str) -> Tensor:
        """Rows of an embedding: tokens [1, tokens] to [1, tokens, width], unscaled."""
        ...

    def vector(self, name: str) -> Tensor:
        """A [1] or [width] weight that activations are multiplied with."""
        ...


class Dialect(Lookup, Protocol):
    """Operations by canonical weight name. Activations are [1, tokens, width] unless said."""

    @property
    def residual_scale(self) -> float:
        """Exact factor on the whole residual stream (1.0; below 1.0 where fp16 would overflow)."""
        ...

    def project(self, x: Tensor, weights: Sequence[str]) -> Sequence[Tensor]:
        """x through several linears [out, in] of the same input; one result per weight."""
        ...

    def norm(self, x: Tensor, gain: str | None, eps: float, scale: float = 1.0) -> Tensor:
        """RMSNorm over the last axis times the effective gain (1 + w where the family adds it).

        gain: the weight's name, None for a norm without gain. scale: exact factor on the gain.
        """
        ...

    def attend(self, layer: LayerSpec, q: Tensor, k: Tensor | None, v: Tensor | None) -> Tensor:
        """RoPE, cache update and attention of one layer.

        q [1, tokens, heads, head_dim] and k, v [1, tokens, kv_heads, head_dim] before RoPE; k and v
        are None where the layer reads another layer's cache. Scales by the spec's query_scale, applies
        the layer's window and the attention soft cap. Returns [1, tokens, heads * head_dim].
        """
        ...

    def gelu(self, x: Tensor) -> Tensor:
        """GELU, tanh approximation."""
        ...

    def softcap(self, x: Tensor, cap: float) -> Tensor:
        """cap * tanh(x / cap)."""
        ...

    def wanted_positions(self, x: Tensor) -> Tensor:
        """The positions logits are wanted for: [1, tokens, width] to [1, kept, width]."""
        ...
