"""`VisionDialect`: how one runtime expresses the operations that image towers are made of.

The towers (`siglip`, `patch_tower`, `patch_embedder`) say what is computed. A dialect lives for one trace.
Positions are whatever the dialect makes of the place of each patch: a graph's input, or what its host
computes beforehand; towers only hand them on.
"""

from __future__ import annotations

from typing import Any, Protocol

from torch import Tensor

Positions = Any
"""Of every patch, x and y from 0, both -1 for what is no patch."""


class VisionDialect(Protocol):
    """Operations by canonical weight name. Activations are [1, patches, width] unless said."""

    def squares(self, pixels: Tensor, weight: str, bias: str, patch: int) -> Tensor:
        """A picture in squares of patch x patch through one linear: [1, patches, hidden], row by row.

        pixels: [1, 3, side, side], or in whatever order the runtime has channels. weight: [hidden,
        3 * patch * patch], channels first.
        """
        ...

    def project(self, x: Tensor, weight: str, bias: str | None = None, clip: str | None = None) -> Tensor:
        """x through a linear [out, in]. clip: the name before the four bounds that its inputs and outputs
        are kept between."""
        ...

    def layer_norm(self, x: Tensor, name: str, eps: float) -> Tensor:
        """LayerNorm over the last axis by {name}.weight and {name}.bias."""
        ...

    def norm(self, x: Tensor, gain: str | None, eps: float, adds_one: bool = False) -> Tensor:
        """RMSNorm over the last axis times the gain, to which 1 is added if it says so; None for none."""
        ...

    def gelu(self, x: Tensor) -> Tensor:
        """GELU, tanh approximation."""
        ...

    def attend(
        self, q: Tensor, k: Tensor, v: Tensor, scale: float, positions: Positions | None = None
    ) -> Tensor:
        """Every patch to every patch: [1, patches, heads, head_dim] to [1, patches, heads * head_dim].

        positions: those that are no patch are not attended to.
        """
        ...

    def table(self, name: str) -> Tensor:
        """A whole table [rows, width], to be added to activations of all patches in order [1, rows, width];
        of either rank."""
        ...

    def vector(self, name: str) -> Tensor:
        """A [width] weight as it is."""
        ...

    def mean(self, x: Tensor, axis: int) -> Tensor:
        """Mean over an axis, which is dropped."""
        ...

    def place(self, positions: Positions, prefix: str) -> Tensor:
        """Row x of {prefix}.x plus row y of {prefix}.y for each patch, 0 for what is none:
        [1, patches, width]."""
        ...

    def rotate(self, x: Tensor, positions: Positions, theta: float) -> Tensor:
        """Two-dimensional RoPE: the first half of a head by x, the second by y, each rotated in its own
        halves by frequencies theta^(-2i / (head_dim / 2)). x: [1, patches, heads, head_dim]."""
        ...

    def pool(self, x: Tensor, positions: Positions, kernel: int, length: int) -> Tensor:
        """Means of squares of kernel x kernel patches by position, row by row: [1, length, width]. What is
        no patch counts for nothing; rows behind the last square hold nothing to be read."""
        ...
