"""Gemma 3 text (`gemma3_text`): qk-norm, 1 + w norms, sliding layers with a RoPE of their own.

Source: transformers `configuration_gemma3.py`. Published files come in two layouts: layer kinds and
`rope_parameters` spelled out (transformers 5), or `rope_theta`, `rope_local_base_freq` and a pattern.
"""

from __future__ import annotations

from exporter.errors import SpecError
from exporter.models.config import StrictConfig
from exporter.models.refused import SUPPORTED
from exporter.models.text.families.attention import (
    FULL,
    SLIDING,
    agreeing,
    layer_kinds,
    ropes_by_kind,
    scaling_factor,
    tied_embedding,
    uniform_layers,
)
from exporter.models.text.spec import ModelSpec, Rope

UNUSED_SOFTCAP = "attn_logit_softcapping"


def read_gemma3_text(config: StrictConfig) -> ModelSpec:
    """Numbers of a Gemma 3 text model."""
    config.expect("hidden_activation", "gelu_pytorch_tanh")
    config.expect("attention_bias", False)
    if config.has("use_bidirectional_attention") and config.boolean("use_bidirectional_attention"):
        raise SpecError(
            f"{config.where}.use_bidirectional_attention",
            "is true: this is EmbeddingGemma, an encoder that generates nothing",
            SUPPORTED,
        )
    # transformers' Gemma 3 keeps this number and never uses it (`Gemma3Attention.forward`): nor do we.
    config.ignore(UNUSED_SOFTCAP)
    kinds = layer_kinds(config)
    ropes = _ropes(config)
    window = config.integer("sliding_window")
    windows = [window if kind == SLIDING else None for kind in kinds]
    return ModelSpec(
        model_type="gemma3_text",
        vocab_size=config.integer("vocab_size"),
        hidden_size=config.integer("hidden_size"),
        context_length=config.integer("max_position_embeddings"),
        norm_eps=config.number("rms_norm_eps"),
        norm_adds_one=True,
        post_norms=True,
        qk_norm=True,
        v_norm=False,
        query_scale=config.number("query_pre_attn_scalar") ** -0.5,
        attention_softcap=None,
        final_softcap=config.optional_number("final_logit_softcapping"),
        tied_embedding=tied_embedding(config),
        per_layer_embedding=None,
        layer_scalars=False,
        layers=uniform_layers(config, [ropes[kind] for kind in kinds], windows),
    )


def _ropes(config: StrictConfig) -> dict[str, Rope]:
    factor = scaling_factor(config)
    if config.has("rope_parameters"):
        config.ignore("rope_theta", "rope_local_base_freq")
        ropes = ropes_by_kind(config)
        return {**ropes, FULL: agreeing(config, factor, ropes[FULL])}
    local = Rope(config.number("rope_local_base_freq"), linear_factor=1.0, rotated=1.0)
    full = Rope(config.number("rope_theta"), 1.0 if factor is None else factor, rotated=1.0)
    return {FULL: full, SLIDING: local}
