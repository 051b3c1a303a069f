"""What the metadata of a Gemma's GGUF may say, under llama.cpp's keys, made from the numbers of its spec.

llama.cpp's converter has come to write more of these keys with time, and its loader reads some that it
never writes; a file may have any of them. Not about which model a file is (`architectures`).
Source: llama.cpp conversion/base.py, conversion/gemma.py and src/models/gemma*.cpp.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from exporter.checkpoints.gguf.file import MetadataValue
from exporter.models.text.spec import LayerSpec, ModelSpec

# GGUF's name of the family; the keys begin with it.
PREFIXES = {
    "gemma": "gemma",
    "gemma2": "gemma2",
    "gemma3_text": "gemma3",
    "gemma4_text": "gemma4",
    "gemma4_unified_text": "gemma4",
}


@dataclass(frozen=True)
class PerLayer:
    """A number of each layer: an array, or one number where all layers have the same.

    period: one number that stands for the whole array ("every sixth layer is full"), None for none.
    """

    values: tuple[int, ...]
    period: int | None = None


Stated = bool | int | float | str | PerLayer


def stated_metadata(spec: ModelSpec) -> dict[str, Stated]:
    """Every key a file of this model may have, with what it must say there.

    Numbers that GGUF has no key for (the query scale of Gemma 2 27B, layers' kinds in Gemma 2 and 3)
    are the table's alone.
    """
    full = next(layer for layer in spec.layers if layer.window is None)
    local = next((layer for layer in spec.layers if layer.window is not None), None)
    stated = _of_every_family(spec, full)
    if local is not None:
        stated |= _of_sliding_layers(spec, local)
    if spec.attention_softcap is not None:
        stated["attn_logit_softcapping"] = spec.attention_softcap
    if spec.final_softcap is not None:
        stated["final_logit_softcapping"] = spec.final_softcap
    if PREFIXES[spec.model_type] == "gemma4":
        stated |= _of_gemma4(spec, full if local is None else local)
    return {f"{PREFIXES[spec.model_type]}.{key}": value for key, value in stated.items()}


def agrees(value: MetadataValue, stated: Stated) -> bool:
    """Whether a file's value is what the model has. Types must match too: 16.0 is not 16."""
    match stated:
        case PerLayer(values, period):
            if isinstance(value, np.ndarray):
                return value.dtype.kind in "biu" and value.tolist() == list(values)
            return type(value) is int and (value == period or {value} == set(values))
        case float():
            # GGUF keeps float32.
            return isinstance(value, float) and math.isclose(value, stated, rel_tol=1e-6)
    return type(value) is type(stated) and value == stated


def _of_every_family(spec: ModelSpec, full: LayerSpec) -> dict[str, Stated]:
    scaled = full.rope.linear_factor != 1.0
    return {
        "vocab_size": spec.vocab_size,
        "context_length": spec.context_length,
        "embedding_length": spec.hidden_size,
        "block_count": len(spec.layers),
        "feed_forward_length": PerLayer(tuple(layer.intermediate_size for layer in spec.layers)),
        "expert_count": 0,
        "expert_used_count": 0,
        "attention.head_count": PerLayer(tuple(layer.heads for layer in spec.layers)),
        "attention.head_count_kv": PerLayer(tuple(layer.kv_heads for layer in spec.layers)),
        "attention.key_length": full.head_dim,
        "attention.value_length": full.head_dim,
        "attention.layer_norm_rms_epsilon": spec.norm_eps,
        "attention.scale": spec.query_scale,
        "attention.causal": True,
        "rope.dimension_count": full.head_dim,
        "rope.freq_base": full.rope.theta,
        "rope.scaling.type": "linear" if scaled else "none",
        "rope.scaling.factor": full.rope.linear_factor,
    }


def _of_sliding_layers(spec: ModelSpec, local: LayerSpec) -> dict[str, Stated]:
    assert local.window is not None
    sliding = tuple(int(layer.window is not None) for layer in spec.layers)
    period = sliding.index(0) + 1
    periodic = all(slides == (index % period != period - 1) for index, slides in enumerate(sliding))
    # To llama.cpp's gemma4 one number would be every layer's kind, not a period.
    has_period = periodic and PREFIXES[spec.model_type] != "gemma4"
    return {
        "attention.sliding_window": local.window,
        "attention.sliding_window_pattern": PerLayer(sliding, period if has_period else None),
        "rope.freq_base_swa": local.rope.theta,
    }


def _of_gemma4(spec: ModelSpec, local: LayerSpec) -> dict[str, Stated]:
    ple = spec.per_layer_embedding
    return {
        "attention.key_length_swa": local.head_dim,
        "attention.value_length_swa": local.head_dim,
        "attention.shared_kv_layers": sum(not layer.owns_cache for layer in spec.layers),
        "rope.dimension_count_swa": local.head_dim,
        "embedding_length_per_layer_input": 0 if ple is None else ple.width,
    }
