"""RoPE frequencies and rotation, as transformers computes them.

Not about tables or caches: a dialect decides where cosines and sines live.
"""

from __future__ import annotations

import torch
from torch import Tensor

from exporter.models.text.spec import Rope


def inverse_frequencies(rope: Rope, head_dim: int) -> Tensor:
    """Angle per position of each frequency pair, [head_dim / 2], float32.

    theta^(-2i/head_dim) / linear_factor for the rotated share, 0 for the rest
    (transformers `ROPE_INIT_FUNCTIONS`: default, linear, proportional).
    """
    rotated = int(rope.rotated * head_dim // 2)
    exponents = torch.arange(0, 2 * rotated, 2, dtype=torch.int64).float() / head_dim
    turning = 1.0 / (rope.theta**exponents) / rope.linear_factor
    return torch.cat([turning, torch.zeros(head_dim // 2 - rotated)])


def rotate(x: Tensor, cos: Tensor, sin: Tensor) -> Tensor:
    """Turn x [..., head_dim] by angles whose cos and sin broadcast to it (halves, not pairs)."""
    half = x.shape[-1] // 2
    turned = torch.cat((-x[..., half:], x[..., :half]), dim=-1)
    return x * cos + turned * sin
