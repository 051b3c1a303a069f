"""Numbers that transformers' config classes fill in where a vision_config does not have them.

As `exporter.models.transformers_defaults` for the text model; a test compares every entry with the classes.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

VISION_DEFAULTS: Mapping[str, Mapping[str, Any]] = {
    "siglip_vision_model": {
        "hidden_size": 768,
        "intermediate_size": 3072,
        "num_hidden_layers": 12,
        "num_attention_heads": 12,
        "image_size": 224,
        "patch_size": 16,
        "layer_norm_eps": 1e-6,
    },
    "gemma4_vision": {
        "hidden_size": 768,
        "intermediate_size": 3072,
        "num_hidden_layers": 16,
        "num_attention_heads": 12,
        "num_key_value_heads": 12,
        "head_dim": 64,
        "rms_norm_eps": 1e-6,
        "pooling_kernel_size": 3,
        "patch_size": 16,
        "position_embedding_size": 10240,
        "use_clipped_linears": False,
        "standardize": False,
    },
    "gemma4_unified_vision": {
        "patch_size": 16,
        "pooling_kernel_size": 3,
        "mm_embed_dim": 3840,
        "mm_posemb_size": 1120,
        "output_proj_dims": 3840,
        "rms_norm_eps": 1e-6,
    },
}
THETA = 100.0  # of `rope_parameters`, where they are left out
# Of the whole model. Its class has no other name for them than these.
GEMMA3_DEFAULTS: Mapping[str, int] = {
    "mm_tokens_per_image": 256,
    "image_token_index": 262_144,
    "boi_token_index": 255_999,
    "eoi_token_index": 256_000,
}
GEMMA4_DEFAULTS: Mapping[str, int] = {
    "image_token_id": 258_880,
    "boi_token_id": 255_999,
    "eoi_token_id": 258_882,
}
