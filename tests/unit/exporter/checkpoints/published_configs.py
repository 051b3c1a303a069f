"""text_config of published checkpoints with towers, in the keys they are published with.

Gemma 3's leave out what is the default of transformers' class; Gemma 4's spell everything out, 12B's in
keys that its own class does not have.
"""

from __future__ import annotations

from typing import Any

KINDS = ["sliding_attention"] * 5 + ["full_attention"]
GEMMA4_TEXT: dict[str, Any] = {
    "attention_bias": False,
    "attention_dropout": 0.0,
    "bos_token_id": 2,
    "enable_moe_block": False,
    "eos_token_id": 1,
    "final_logit_softcapping": 30.0,
    "global_head_dim": 512,
    "head_dim": 256,
    "hidden_activation": "gelu_pytorch_tanh",
    "moe_intermediate_size": None,
    "num_experts": None,
    "pad_token_id": 0,
    "rms_norm_eps": 1e-6,
    "rope_parameters": {
        "full_attention": {"partial_rotary_factor": 0.25, "rope_theta": 1e6, "rope_type": "proportional"},
        "sliding_attention": {"rope_theta": 1e4, "rope_type": "default"},
    },
    "tie_word_embeddings": True,
    "top_k_experts": None,
    "use_cache": True,
    "vocab_size": 262144,
    "vocab_size_per_layer_input": 262144,
}


def gemma3_text(**numbers: Any) -> dict[str, Any]:
    """text_config as Gemma 3 is published: whatever is the class's default is left out."""
    linear = {"rope_scaling": {"factor": 8.0, "rope_type": "linear"}, "sliding_window": 1024}
    return {"model_type": "gemma3_text", **linear, **numbers}


# Id in the table of published models, to model_type and text_config.
PUBLISHED: dict[str, tuple[str, dict[str, Any]]] = {
    "gemma-3-4b": ("gemma3", gemma3_text(hidden_size=2560, intermediate_size=10240, num_hidden_layers=34)),
    "gemma-3-12b": (
        "gemma3",
        gemma3_text(
            hidden_size=3840,
            intermediate_size=15360,
            num_attention_heads=16,
            num_hidden_layers=48,
            num_key_value_heads=8,
        ),
    ),
    "gemma-3-27b": (
        "gemma3",
        gemma3_text(
            head_dim=128,
            hidden_size=5376,
            intermediate_size=21504,
            num_attention_heads=32,
            num_hidden_layers=62,
            num_key_value_heads=16,
            query_pre_attn_scalar=168,
        ),
    ),
    "gemma-4-e2b": (
        "gemma4",
        {
            **GEMMA4_TEXT,
            "model_type": "gemma4_text",
            "attention_k_eq_v": False,
            "hidden_size": 1536,
            "hidden_size_per_layer_input": 256,
            "intermediate_size": 6144,
            "layer_types": (["sliding_attention"] * 4 + ["full_attention"]) * 7,
            "max_position_embeddings": 131072,
            "num_attention_heads": 8,
            "num_global_key_value_heads": None,
            "num_hidden_layers": 35,
            "num_key_value_heads": 1,
            "num_kv_shared_layers": 20,
            "sliding_window": 512,
            "use_bidirectional_attention": None,
            "use_double_wide_mlp": True,
        },
    ),
    "gemma-4-12b": (
        "gemma4_unified",
        {
            **GEMMA4_TEXT,
            "model_type": "gemma4_unified_text",
            "attention_k_eq_v": True,
            "hidden_size": 3840,
            "hidden_size_per_layer_input": 0,
            "intermediate_size": 15360,
            "layer_types": KINDS * 8,
            "max_position_embeddings": 262144,
            "num_attention_heads": 16,
            "num_global_key_value_heads": 1,
            "num_hidden_layers": 48,
            "num_key_value_heads": 8,
            "num_kv_shared_layers": 0,
            "sliding_window": 1024,
            "use_bidirectional_attention": "vision",
            "use_double_wide_mlp": False,
        },
    ),
}
