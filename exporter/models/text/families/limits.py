"""Numbers no Gemma can have, refused before anything is made of them.

A billion layers would be listed one by one long before their first weight is missed. The limits are far
above any published model and far below what hurts. Not about which numbers fit together in a family
(`exporter.models.text.families`).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from exporter.errors import SpecError
from exporter.models.text.spec import ModelSpec

MOST_LAYERS = 1000
MOST_POSITIONS = 1 << 27
MOST_TOKENS = 1 << 24
WIDEST = 1 << 18
MOST_PARAMETERS = 10**12
LARGEST = {
    "num_hidden_layers": MOST_LAYERS,
    "num_kv_shared_layers": MOST_LAYERS,
    "sliding_window_pattern": MOST_LAYERS,
    "_sliding_window_pattern": MOST_LAYERS,
    "max_position_embeddings": MOST_POSITIONS,
    "sliding_window": MOST_POSITIONS,
    "vocab_size": MOST_TOKENS,
    "vocab_size_per_layer_input": MOST_TOKENS,
    "hidden_size": WIDEST,
    "hidden_size_per_layer_input": WIDEST,
    "intermediate_size": WIDEST * 8,
    "num_attention_heads": 4096,
    "num_key_value_heads": 4096,
    "num_global_key_value_heads": 4096,
    "head_dim": 8192,
    "global_head_dim": 8192,
    "image_size": 1 << 14,
    "patch_size": 1 << 10,
    "pooling_kernel_size": 1 << 6,
    "position_embedding_size": 1 << 20,
    "mm_embed_dim": WIDEST,
    "mm_posemb_size": 1 << 20,
    "conv_kernel_size": 1 << 8,
    "attention_chunk_size": 1 << 12,
    "output_proj_dims": WIDEST,
    "audio_embed_dim": WIDEST,
}
CORRECT = "correct it, or fetch the checkpoint's config.json again"
# transformers' classes of these refuse a hidden size that does not split into the heads.
SPLIT_HIDDEN_SIZE = frozenset({"gemma2", "gemma3_text", "vaultgemma"})


def refuse_impossible_numbers(config: Mapping[str, Any], where: str) -> None:
    """Raise SpecError for a number above its limit. Types, and numbers below 1, are the readers'."""
    for key, most in LARGEST.items():
        value = config.get(key)
        if isinstance(value, int | float) and value > most:
            shown = str(value) if value < 1 << 64 else "more than 2^64"
            raise SpecError(
                f"{where}.{key}", f"{shown} is beyond {most}, which no Gemma comes near", CORRECT
            )


def refuse_impossible_spec(spec: ModelSpec, where: str) -> None:
    """Raise SpecError for numbers that cannot go together, or that no file could hold the weights of."""
    for layer in spec.layers:
        if layer.heads % layer.kv_heads:
            raise SpecError(
                f"{where}.num_attention_heads",
                f"{layer.heads} heads in layer {layer.index} cannot share {layer.kv_heads} key-value heads "
                "evenly",
                CORRECT,
            )
        if layer.head_dim % 2:
            raise SpecError(
                f"{where}.head_dim", f"{layer.head_dim} is odd, and RoPE turns pairs of numbers", CORRECT
            )
    heads = spec.layers[0].heads
    if spec.model_type in SPLIT_HIDDEN_SIZE and spec.hidden_size % heads:
        raise SpecError(
            f"{where}.hidden_size",
            f"{spec.hidden_size} does not split into {heads} heads, as transformers requires here",
            CORRECT,
        )
    if (count := spec.parameter_count()) > MOST_PARAMETERS:
        raise SpecError(
            where, f"its numbers make {count:,} parameters; the largest Gemma has some 31 billion", CORRECT
        )
