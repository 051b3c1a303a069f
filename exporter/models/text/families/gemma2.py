"""Gemma 2 (`gemma2`): sliding and full layers in turn, soft caps on scores and logits, post norms.

Source: transformers `configuration_gemma2.py`.
"""

from __future__ import annotations

from exporter.errors import SpecError
from exporter.models.config import StrictConfig
from exporter.models.text.families.attention import (
    SLIDING,
    layer_kinds,
    single_rope,
    tied_embedding,
    uniform_layers,
)
from exporter.models.text.spec import ModelSpec

# The first 9B files carried hidden_size / heads = 224; the model was trained with head_dim's 256.
RETRACTED_9B_QUERY_SCALAR = 224


def read_gemma2(config: StrictConfig) -> ModelSpec:
    """Numbers of a Gemma 2 model."""
    config.expect("hidden_activation", "gelu_pytorch_tanh")
    config.expect("hidden_act", "gelu_pytorch_tanh", None)
    config.expect("attention_bias", False)
    config.expect("use_bidirectional_attention", False, None)
    kinds = layer_kinds(config, pattern=2)
    window = config.integer("sliding_window")
    windows = [window if kind == SLIDING else None for kind in kinds]
    return ModelSpec(
        model_type="gemma2",
        vocab_size=config.integer("vocab_size"),
        hidden_size=config.integer("hidden_size"),
        context_length=config.integer("max_position_embeddings"),
        norm_eps=config.number("rms_norm_eps"),
        norm_adds_one=True,
        post_norms=True,
        qk_norm=False,
        v_norm=False,
        query_scale=_query_scalar(config) ** -0.5,
        attention_softcap=config.optional_number("attn_logit_softcapping"),
        final_softcap=config.optional_number("final_logit_softcapping"),
        tied_embedding=tied_embedding(config),
        per_layer_embedding=None,
        layer_scalars=False,
        layers=uniform_layers(config, [single_rope(config)] * len(kinds), windows),
    )


def _query_scalar(config: StrictConfig) -> float:
    scalar = config.number("query_pre_attn_scalar")
    if scalar == RETRACTED_9B_QUERY_SCALAR and config.integer("head_dim") == 256:
        raise SpecError(
            f"{config.where}.query_pre_attn_scalar",
            "224 is the value of the first Gemma 2 9B files, which their authors corrected to 256",
            "set it to 256 in config.json, or fetch the checkpoint again",
        )
    return scalar
