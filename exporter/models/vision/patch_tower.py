"""Gemma 4's image tower: a transformer over patches that know where they stand.

Not about cutting a picture into patches. Source: transformers `modeling_gemma4.py`, `Gemma4VisionModel`.
"""

from __future__ import annotations

import math

from torch import Tensor

from exporter.models.vision.dialect import Positions, VisionDialect
from exporter.models.vision.spec import PatchTowerSpec

TOWER = "vision_tower."


def patch_tower_features(
    spec: PatchTowerSpec, ops: VisionDialect, patches: Tensor, positions: Positions, length: int
) -> Tensor:
    """Patches [1, patches, patch_width] in [0, 1], to [1, length, hidden]: one row for each square."""
    embedder = f"{TOWER}patch_embedder."
    x = ops.project(patches * 2.0 - 1.0, f"{embedder}input_proj.weight")
    x = x + ops.place(positions, f"{embedder}position_embedding_table")
    for index in range(spec.layers):
        x = _layer(spec, ops, f"{TOWER}encoder.layers.{index}.", x, positions)
    x = ops.pool(x, positions, spec.kernel, length)
    root = math.sqrt(spec.hidden_size)
    if not spec.standardize:
        return x * root
    # (x * root - bias) * scale, so written that half precision never holds x * root.
    scale = ops.vector(f"{TOWER}std_scale")
    return x * (scale * root) - ops.vector(f"{TOWER}std_bias") * scale


def patch_tower_rows(spec: PatchTowerSpec, ops: VisionDialect, features: Tensor) -> Tensor:
    """Squares in the text model's width: [1, length, text_hidden]."""
    x = ops.norm(features, None, spec.norm_eps)
    return ops.project(x, "embed_vision.embedding_projection.weight")


def _layer(
    spec: PatchTowerSpec, ops: VisionDialect, prefix: str, x: Tensor, positions: Positions
) -> Tensor:
    eps, patches = spec.norm_eps, x.shape[1]

    def linear(h: Tensor, name: str) -> Tensor:
        clip = f"{prefix}{name}" if spec.clipped else None
        return ops.project(h, f"{prefix}{name}.linear.weight", clip=clip)

    h = ops.norm(x, f"{prefix}input_layernorm.weight", eps)
    q, k, v = (
        linear(h, f"self_attn.{part}_proj").reshape(1, patches, spec.heads, spec.head_dim) for part in "qkv"
    )
    q = ops.rotate(ops.norm(q, f"{prefix}self_attn.q_norm.weight", eps), positions, spec.theta)
    k = ops.rotate(ops.norm(k, f"{prefix}self_attn.k_norm.weight", eps), positions, spec.theta)
    attended = ops.attend(q, k, ops.norm(v, None, eps), 1.0, positions)
    h = linear(attended, "self_attn.o_proj")
    x = x + ops.norm(h, f"{prefix}post_attention_layernorm.weight", eps)
    h = ops.norm(x, f"{prefix}pre_feedforward_layernorm.weight", eps)
    h = linear(ops.gelu(linear(h, "mlp.gate_proj")) * linear(h, "mlp.up_proj"), "mlp.down_proj")
    return x + ops.norm(h, f"{prefix}post_feedforward_layernorm.weight", eps)
