"""VaultGemma (`vaultgemma`): Gemma 2's layers without the norms behind attention and MLP.

Source: transformers `configuration_vaultgemma.py`, `modeling_vaultgemma.py`, whose head applies
`final_logit_softcapping` as Gemma 2's does.
"""

from __future__ import annotations

from exporter.models.config import StrictConfig
from exporter.models.text.families.attention import (
    SLIDING,
    layer_kinds,
    single_rope,
    tied_embedding,
    uniform_layers,
)
from exporter.models.text.spec import ModelSpec


def read_vaultgemma(config: StrictConfig) -> ModelSpec:
    """Numbers of a VaultGemma model."""
    config.expect("hidden_activation", "gelu_pytorch_tanh")
    config.expect("attention_bias", False)
    kinds = layer_kinds(config, pattern=2)
    window = config.integer("sliding_window")
    windows = [window if kind == SLIDING else None for kind in kinds]
    return ModelSpec(
        model_type="vaultgemma",
        vocab_size=config.integer("vocab_size"),
        hidden_size=config.integer("hidden_size"),
        context_length=config.integer("max_position_embeddings"),
        norm_eps=config.number("rms_norm_eps"),
        norm_adds_one=True,
        post_norms=False,
        qk_norm=False,
        v_norm=False,
        query_scale=config.number("query_pre_attn_scalar") ** -0.5,
        attention_softcap=config.optional_number("attn_logit_softcapping"),
        final_softcap=config.optional_number("final_logit_softcapping"),
        tied_embedding=tied_embedding(config),
        per_layer_embedding=None,
        layer_scalars=False,
        layers=uniform_layers(config, [single_rope(config)] * len(kinds), windows),
    )
