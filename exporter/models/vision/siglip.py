"""Gemma 3's image tower: SigLIP over a square picture, and the projector behind it.

Not about scaling a picture to its square. Source: transformers `modeling_siglip.py`, `modeling_gemma3.py`.
"""

from __future__ import annotations

from torch import Tensor

from exporter.models.vision.dialect import VisionDialect
from exporter.models.vision.spec import SiglipSpec

TOWER, PROJECTOR = "vision_tower.", "multi_modal_projector."


def siglip_features(spec: SiglipSpec, ops: VisionDialect, pixels: Tensor) -> Tensor:
    """A picture's pixels in [-1, 1] to [1, side * side, hidden]."""
    embedding = f"{TOWER}embeddings.patch_embedding."
    x = ops.squares(pixels, f"{embedding}weight", f"{embedding}bias", spec.patch_size)
    x = x + ops.table(f"{TOWER}embeddings.position_embedding.weight")
    for index in range(spec.layers):
        x = _layer(spec, ops, f"{TOWER}encoder.layers.{index}.", x)
    return ops.layer_norm(x, f"{TOWER}post_layernorm", spec.norm_eps)


def siglip_rows(spec: SiglipSpec, ops: VisionDialect, features: Tensor) -> Tensor:
    """Means of squares of patches in the text model's width: [1, soft_tokens, text_hidden]."""
    side, pooled, width = spec.side, spec.pooled_side, spec.hidden_size
    kernel = side // pooled
    x = ops.mean(features.reshape(pooled, kernel, side, width), 1)
    x = ops.mean(x.reshape(pooled, pooled, kernel, width), 2).reshape(1, pooled * pooled, width)
    x = ops.norm(x, f"{PROJECTOR}mm_soft_emb_norm.weight", spec.projector_eps, adds_one=True)
    return ops.project(x, f"{PROJECTOR}mm_input_projection.weight")


def _layer(spec: SiglipSpec, ops: VisionDialect, prefix: str, x: Tensor) -> Tensor:
    patches, head_dim = x.shape[1], spec.hidden_size // spec.heads

    def linear(h: Tensor, name: str) -> Tensor:
        return ops.project(h, f"{prefix}{name}.weight", f"{prefix}{name}.bias")

    h = ops.layer_norm(x, f"{prefix}layer_norm1", spec.norm_eps)
    q, k, v = (
        linear(h, f"self_attn.{part}_proj").reshape(1, patches, spec.heads, head_dim) for part in "qkv"
    )
    x = x + linear(ops.attend(q, k, v, head_dim**-0.5), "self_attn.out_proj")
    h = ops.layer_norm(x, f"{prefix}layer_norm2", spec.norm_eps)
    return x + linear(ops.gelu(linear(h, "mlp.fc1")), "mlp.fc2")
