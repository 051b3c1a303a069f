"""Gemma 4 text (`gemma4_text`, `gemma4_unified_text`): plain w norms, v-norm, two head sizes.

E2B and E4B add per-layer embeddings, KV sharing and (E2B) double-wide MLPs in the sharing layers;
12B and 31B use the key projection as the value in full layers. Published files name the full layers'
sizes `global_head_dim` and `num_global_key_value_heads`; transformers 5.23 saves `per_layer_config`.
Source: transformers `configuration_gemma4.py`, `modeling_gemma4.py`.
"""

from __future__ import annotations

from dataclasses import dataclass

from exporter.errors import SpecError
from exporter.models.config import StrictConfig
from exporter.models.text.families.attention import (
    FULL,
    SLIDING,
    layer_kinds,
    ropes_by_kind,
    tied_embedding,
)
from exporter.models.text.spec import LayerSpec, ModelSpec, PerLayerEmbedding


def read_gemma4_text(config: StrictConfig) -> ModelSpec:
    """Numbers of a Gemma 4 E2B, E4B or 31B text model."""
    return _read(config, "gemma4_text", _per_layer_embedding(config))


def read_gemma4_unified_text(config: StrictConfig) -> ModelSpec:
    """Numbers of the Gemma 4 12B text model."""
    # Its class has no per-layer embedding, and the published file says so in the other class's keys.
    config.expect("hidden_size_per_layer_input", 0, None)
    config.ignore("vocab_size_per_layer_input")
    return _read(config, "gemma4_unified_text", None)


def _read(config: StrictConfig, model_type: str, ple: PerLayerEmbedding | None) -> ModelSpec:
    if config.has("enable_moe_block") and config.boolean("enable_moe_block"):
        raise SpecError(
            f"{config.where}.enable_moe_block",
            "the Gemma 4 mixture of experts (26B-A4B) is not supported",
            "choose a dense Gemma 4: E2B, E4B, 12B or 31B",
        )
    config.ignore("num_experts", "top_k_experts", "moe_intermediate_size")
    config.expect("hidden_activation", "gelu_pytorch_tanh")
    config.expect("attention_bias", False)
    # "vision" changes how image tokens attend, not text.
    config.expect("use_bidirectional_attention", None, False, "vision")
    return ModelSpec(
        model_type=model_type,
        vocab_size=config.integer("vocab_size"),
        hidden_size=config.integer("hidden_size"),
        context_length=config.integer("max_position_embeddings"),
        norm_eps=config.number("rms_norm_eps"),
        norm_adds_one=False,
        post_norms=True,
        qk_norm=True,
        v_norm=True,
        query_scale=1.0,
        attention_softcap=None,
        final_softcap=config.optional_number("final_logit_softcapping"),
        tied_embedding=tied_embedding(config),
        per_layer_embedding=ple,
        layer_scalars=True,
        layers=_layers(config),
    )


def _per_layer_embedding(config: StrictConfig) -> PerLayerEmbedding | None:
    # 0 and null both mean "none": 31B files say 0.
    if not config.has("hidden_size_per_layer_input") or config.raw["hidden_size_per_layer_input"] == 0:
        config.ignore("vocab_size_per_layer_input")
        return None
    return PerLayerEmbedding(
        config.integer("hidden_size_per_layer_input"), config.integer("vocab_size_per_layer_input")
    )


@dataclass(frozen=True)
class _HeadSizes:
    head_dim: int
    kv_heads: int


def _layers(config: StrictConfig) -> tuple[LayerSpec, ...]:
    kinds = layer_kinds(config, pattern=6)
    ropes = ropes_by_kind(config)
    window = config.integer("sliding_window")
    heads, inner = config.integer("num_attention_heads"), config.integer("intermediate_size")
    value_from_key = config.has("attention_k_eq_v") and config.boolean("attention_k_eq_v")
    sizes = _head_sizes(config, kinds, value_from_key)
    first_sharing = max(0, len(kinds) - _count(config, "num_kv_shared_layers"))
    double_wide = config.has("use_double_wide_mlp") and config.boolean("use_double_wide_mlp")
    sources = _kv_sources(config, kinds, first_sharing)
    return tuple(
        LayerSpec(
            index=index,
            heads=heads,
            kv_heads=sizes[index].kv_heads,
            head_dim=sizes[index].head_dim,
            window=window if kind == SLIDING else None,
            rope=ropes[kind],
            intermediate_size=inner * 2 if double_wide and index >= first_sharing else inner,
            kv_source=sources[index],
            value_from_key=value_from_key and kind == FULL,
        )
        for index, kind in enumerate(kinds)
    )


def _kv_sources(config: StrictConfig, kinds: tuple[str, ...], first_sharing: int) -> list[int]:
    """A sharing layer reads the cache of the last owning layer of its kind."""
    sources = list(range(len(kinds)))
    for index in range(first_sharing, len(kinds)):
        owners = [owner for owner in range(first_sharing) if kinds[owner] == kinds[index]]
        if not owners:
            raise SpecError(
                f"{config.where}.num_kv_shared_layers",
                f"layer {index} shares the cache of a {kinds[index]} layer, and none owns one",
                "fetch the checkpoint's config.json again",
            )
        sources[index] = owners[-1]
    return sources


def _head_sizes(config: StrictConfig, kinds: tuple[str, ...], value_from_key: bool) -> list[_HeadSizes]:
    local = _HeadSizes(config.integer("head_dim"), config.integer("num_key_value_heads"))
    if config.has("per_layer_config"):
        config.ignore("global_head_dim", "num_global_key_value_heads")
        return _spelled_out_head_sizes(config.child("per_layer_config"), len(kinds), local)
    head_dim = config.integer("global_head_dim")
    kv_heads = local.kv_heads
    if config.has("num_global_key_value_heads"):
        declared = config.integer("num_global_key_value_heads")
        # transformers applies it to the models whose full layers take values from keys, only.
        kv_heads = declared if value_from_key else kv_heads
    wide = _HeadSizes(head_dim, kv_heads)
    return [wide if kind == FULL else local for kind in kinds]


def _spelled_out_head_sizes(overrides: StrictConfig, count: int, local: _HeadSizes) -> list[_HeadSizes]:
    digits = len(str(count - 1))  # transformers pads the layer's number, so that the keys sort
    sizes = []
    for index in range(count):
        spelled = f"{index:0{digits}}" if overrides.has(f"{index:0{digits}}") else str(index)
        if not overrides.has(spelled):
            sizes.append(local)
            continue
        entry = overrides.child(spelled)
        sizes.append(
            _HeadSizes(
                entry.integer("head_dim") if entry.has("head_dim") else local.head_dim,
                entry.integer("num_key_value_heads")
                if entry.has("num_key_value_heads")
                else local.kv_heads,
            )
        )
        entry.refuse_unread()
    overrides.refuse_unread()
    return sizes


def _count(config: StrictConfig, key: str) -> int:
    """An integer from 0; absent or null is 0, as transformers' class has it."""
    return 0 if not config.has(key) or config.raw[key] == 0 else config.integer(key)
