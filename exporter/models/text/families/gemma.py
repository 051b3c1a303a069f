"""Gemma 1 (`gemma`): every layer full, 1 + w norms before attention and MLP only.

Source: transformers `configuration_gemma.py`; `hidden_act: gelu` of the first releases means the tanh
approximation there and here.
"""

from __future__ import annotations

from exporter.models.config import StrictConfig
from exporter.models.text.families.attention import single_rope, tied_embedding, uniform_layers
from exporter.models.text.spec import ModelSpec


def read_gemma(config: StrictConfig) -> ModelSpec:
    """Numbers of a Gemma 1 model."""
    config.expect("hidden_act", "gelu", "gelu_pytorch_tanh")
    config.expect("hidden_activation", None, "gelu_pytorch_tanh")
    config.expect("attention_bias", False)
    config.expect("use_bidirectional_attention", False, None)
    count = config.integer("num_hidden_layers")
    return ModelSpec(
        model_type="gemma",
        vocab_size=config.integer("vocab_size"),
        hidden_size=config.integer("hidden_size"),
        context_length=config.integer("max_position_embeddings"),
        norm_eps=config.number("rms_norm_eps"),
        norm_adds_one=True,
        post_norms=False,
        qk_norm=False,
        v_norm=False,
        query_scale=config.integer("head_dim") ** -0.5,
        attention_softcap=None,
        final_softcap=None,
        tied_embedding=tied_embedding(config),
        per_layer_embedding=None,
        layer_scalars=False,
        layers=uniform_layers(config, [single_rope(config)] * count, [None] * count),
    )
