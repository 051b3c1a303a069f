"""Gemma 4 12B's image embedder: squares of patches straight into the text model, without a tower.

Source: transformers `modeling_gemma4_unified.py`, `Gemma4UnifiedVisionEmbedder`.
"""

from __future__ import annotations

from torch import Tensor

from exporter.models.vision.dialect import Positions, VisionDialect
from exporter.models.vision.spec import PatchEmbedderSpec

PREFIX = "vision_embedder."


def patch_embedder_rows(
    spec: PatchEmbedderSpec, ops: VisionDialect, squares: Tensor, positions: Positions
) -> Tensor:
    """Squares [1, squares, patch_width] in [0, 1], to [1, squares, text_hidden]."""
    x = ops.layer_norm(squares, f"{PREFIX}patch_ln1", spec.layer_norm_eps)
    x = ops.project(x, f"{PREFIX}patch_dense.weight", f"{PREFIX}patch_dense.bias")
    x = ops.layer_norm(x, f"{PREFIX}patch_ln2", spec.layer_norm_eps)
    x = x + ops.place(positions, f"{PREFIX}pos_embedding")
    x = ops.layer_norm(x, f"{PREFIX}pos_norm", spec.layer_norm_eps)
    x = ops.norm(x, None, spec.norm_eps)
    return ops.project(x, f"{PREFIX}multimodal_embedder.embedding_projection.weight")
