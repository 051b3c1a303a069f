"""Numbers that transformers' config classes fill in where an audio_config does not have them.

As `exporter.models.vision.defaults` for towers; a test compares every entry with the classes.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

AUDIO_DEFAULTS: Mapping[str, Mapping[str, Any]] = {
    "gemma4_audio": {
        "hidden_size": 1024,
        "num_hidden_layers": 12,
        "num_attention_heads": 8,
        "hidden_act": "silu",
        "subsampling_conv_channels": [128, 32],
        "conv_kernel_size": 5,
        "residual_weight": 0.5,
        "attention_chunk_size": 12,
        "attention_context_left": 13,
        "attention_context_right": 0,
        "attention_logit_cap": 50.0,
        "attention_invalid_logits_value": -1e9,
        "use_clipped_linears": True,
        "rms_norm_eps": 1e-6,
        "gradient_clipping": 1e10,
        "output_proj_dims": 1536,
    },
    "gemma4_unified_audio": {"audio_embed_dim": 640, "rms_norm_eps": 1e-6},
}
# Of the whole model. Its class has no other name for them than these.
SOUND_TOKEN_DEFAULTS: Mapping[str, int] = {
    "audio_token_id": 258_881,
    "boa_token_id": 256_000,
    "eoa_token_index": 258_883,
}
