"""Numbers that transformers' config classes fill in where config.json does not have them.

A config.json that leaves a key out is valid, and what the model computes with is in the class alone. The
table names what is taken, so that it can be said; a test compares every entry with the classes, which
take seconds to import. Why they are taken at all: docs/adr/0017.
Not about what the numbers mean (`exporter.models.text.families`): those readers know no defaults.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

TOKEN_IDS = {"pad_token_id": 0, "eos_token_id": 1, "bos_token_id": 2}
_EVERY: Mapping[str, Any] = {**TOKEN_IDS, "rms_norm_eps": 1e-6, "head_dim": 256}
_WIDE: Mapping[str, Any] = {
    **_EVERY,
    "hidden_size": 2304,
    "intermediate_size": 9216,
    "num_attention_heads": 8,
    "num_key_value_heads": 4,
}
_GEMMA2: Mapping[str, Any] = {
    **_WIDE,
    "vocab_size": 256000,
    "num_hidden_layers": 26,
    "max_position_embeddings": 8192,
    "query_pre_attn_scalar": 256,
    "sliding_window": 4096,
    "final_logit_softcapping": 30.0,
    "attn_logit_softcapping": 50.0,
    "rope_theta": 1e4,
}
_GEMMA4: Mapping[str, Any] = {
    **_WIDE,
    "vocab_size": 262144,
    "num_hidden_layers": 30,
    "global_head_dim": 512,
    "final_logit_softcapping": None,
    "rope_parameters": {
        "sliding_attention": {"rope_type": "default", "rope_theta": 1e4},
        "full_attention": {"rope_type": "proportional", "partial_rotary_factor": 0.25, "rope_theta": 1e6},
    },
}
DEFAULTS: Mapping[str, Mapping[str, Any]] = {
    "gemma": {
        **_EVERY,
        "vocab_size": 256000,
        "hidden_size": 3072,
        "intermediate_size": 24576,
        "num_hidden_layers": 28,
        "num_attention_heads": 16,
        "num_key_value_heads": 16,
        "max_position_embeddings": 8192,
        "rope_theta": 1e4,
    },
    "gemma2": _GEMMA2,
    "vaultgemma": _GEMMA2,
    "gemma3_text": {
        **_WIDE,
        "vocab_size": 262208,
        "num_hidden_layers": 26,
        "max_position_embeddings": 131072,
        "query_pre_attn_scalar": 256,
        "sliding_window": 4096,
        "sliding_window_pattern": 6,
        "final_logit_softcapping": None,
        "rope_theta": 1e6,
        "rope_local_base_freq": 1e4,
    },
    "gemma4_text": {
        **_GEMMA4,
        "max_position_embeddings": 131072,
        "sliding_window": 512,
        "hidden_size_per_layer_input": 256,
        "vocab_size_per_layer_input": 262144,
    },
    "gemma4_unified_text": {**_GEMMA4, "max_position_embeddings": 262144, "sliding_window": 1024},
}
# A key is not missing where one of these says the same.
SAID_BY: Mapping[str, tuple[str, ...]] = {
    "sliding_window_pattern": ("layer_types", "_sliding_window_pattern"),
    "global_head_dim": ("per_layer_config",),
    "rope_theta": ("rope_parameters",),
    "rope_local_base_freq": ("rope_parameters",),
}
# transformers takes these for absent where they are null, too.
ABSENT_WHERE_NULL = frozenset({*TOKEN_IDS, "rope_theta", "rope_local_base_freq", "rope_parameters"})


@dataclass(frozen=True)
class FilledIn:
    """config: every number there is. remarks: what was taken from transformers, a sentence, if anything."""

    config: Mapping[str, Any]
    remarks: tuple[str, ...]


def fill_in(config: Mapping[str, Any]) -> FilledIn:
    """A text model's config with what transformers' class adds to it. One of an unknown model stays."""
    model_type = config.get("model_type")
    defaults = DEFAULTS.get(model_type, {}) if isinstance(model_type, str) else {}
    taken = {
        key: value
        for key, value in defaults.items()
        if not _said(config, key)
        and not any(config.get(other) is not None for other in SAID_BY.get(key, ()))
    }
    filled = {**config, **taken}
    ropes, added = _thetas(filled, defaults)
    taken |= added
    if not taken:
        return FilledIn({**config, **ropes}, ())
    listed = ", ".join(f"{key} ({value})" for key, value in taken.items())
    return FilledIn(
        {**filled, **ropes},
        (f"config.json leaves out what transformers has a default for, and that was taken: {listed}.",),
    )


def _said(config: Mapping[str, Any], key: str) -> bool:
    return config.get(key) is not None if key in ABSENT_WHERE_NULL else key in config


def _thetas(
    config: Mapping[str, Any], defaults: Mapping[str, Any]
) -> tuple[dict[str, Any], dict[str, float]]:
    """rope_parameters with the base of every RoPE in it; and the bases that no other key stated."""
    ropes = config.get("rope_parameters")
    if not isinstance(ropes, Mapping) or "rope_theta" not in defaults:
        return {}, {}
    added: dict[str, float] = {}

    def with_theta(entry: Mapping[str, Any], key: str) -> Mapping[str, Any]:
        if "rope_theta" in entry:
            return entry
        if config.get(key) is None:
            added[key] = defaults[key]
        return {**entry, "rope_theta": added.get(key, config.get(key))}

    if "rope_local_base_freq" not in defaults:
        return {"rope_parameters": with_theta(ropes, "rope_theta")}, added
    whole = dict(ropes)
    for kind, key in (("full_attention", "rope_theta"), ("sliding_attention", "rope_local_base_freq")):
        entry = ropes.get(kind)
        if entry is None or isinstance(entry, Mapping):
            whole[kind] = with_theta({} if entry is None else entry, key)
    return {"rope_parameters": whole}, added
