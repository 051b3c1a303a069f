"""What a GGUF does not say: the full config.json of each model we know, and how to recognise it.

A Gemma GGUF has no layer pattern, query scale or sliding RoPE base (readers hard-code them per
architecture, and get some sizes wrong), so the numbers come from this table and the file's metadata
must agree with every one it states. Not about tensor names (`gguf_source`).
Source of the numbers: the published config.json files (transformers `configuration_gemma3.py`).
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from exporter.checkpoints.gguf_file import GgufFile, MetadataValue
from exporter.errors import SpecError
from exporter.models.families.attention import FULL, SLIDING


@dataclass(frozen=True)
class GgufArchitecture:
    """One published model. prefix: GGUF's name of the family. stated: what its metadata must say.

    A key of `stated` may be absent from a file; a key of the family that is not in `stated` may not
    be there: it changes the model in a way this table does not know.
    """

    name: str
    prefix: str
    config: Mapping[str, Any]
    stated: Mapping[str, MetadataValue]


def _gemma3_text(name: str, hidden: int, inner: int, layers: int, heads: int) -> GgufArchitecture:
    """Gemma 3 text-only sizes: 270M and 1B."""
    kinds = [SLIDING if (i + 1) % 6 else FULL for i in range(layers)]
    config = {
        "architectures": ["Gemma3ForCausalLM"],
        "model_type": "gemma3_text",
        "vocab_size": 262144,
        "hidden_size": hidden,
        "intermediate_size": inner,
        "num_hidden_layers": layers,
        "num_attention_heads": heads,
        "num_key_value_heads": 1,
        "head_dim": 256,
        "hidden_activation": "gelu_pytorch_tanh",
        "max_position_embeddings": 32768,
        "rms_norm_eps": 1e-6,
        "sliding_window": 512,
        "query_pre_attn_scalar": 256,
        "attn_logit_softcapping": None,
        "final_logit_softcapping": None,
        "attention_bias": False,
        "attention_dropout": 0.0,
        "tie_word_embeddings": True,
        "layer_types": kinds,
        "rope_parameters": {
            FULL: {"rope_type": "default", "rope_theta": 1000000.0},
            SLIDING: {"rope_type": "default", "rope_theta": 10000.0},
        },
    }
    stated: dict[str, MetadataValue] = {
        "vocab_size": 262144,
        "context_length": 32768,
        "embedding_length": hidden,
        "block_count": layers,
        "feed_forward_length": inner,
        "attention.head_count": heads,
        "attention.head_count_kv": 1,
        "attention.key_length": 256,
        "attention.value_length": 256,
        "attention.layer_norm_rms_epsilon": 1e-6,
        "attention.sliding_window": 512,
        "attention.sliding_window_pattern": 6,
        "rope.dimension_count": 256,
        "rope.freq_base": 1000000.0,
        "rope.freq_base_swa": 10000.0,
    }
    return GgufArchitecture(name, "gemma3", config, {f"gemma3.{key}": v for key, v in stated.items()})


ARCHITECTURES = (
    _gemma3_text("gemma-3-270m", hidden=640, inner=2048, layers=18, heads=4),
    _gemma3_text("gemma-3-1b", hidden=1152, inner=6912, layers=26, heads=4),
)


def recognise(file: GgufFile, known: tuple[GgufArchitecture, ...]) -> GgufArchitecture:
    """The table's entry for this file, its metadata checked against every number.

    Raises SpecError for a model that is not in the table, and for metadata that contradicts it.
    """
    prefix = file.metadata.get("general.architecture")
    layers = file.metadata.get(f"{prefix}.block_count")
    hidden = file.metadata.get(f"{prefix}.embedding_length")
    for entry in known:
        size = (
            entry.stated[f"{entry.prefix}.block_count"],
            entry.stated[f"{entry.prefix}.embedding_length"],
        )
        if (prefix, layers, hidden) == (entry.prefix, *size):
            _require_agreement(file, entry)
            return entry
    raise SpecError(
        file.path,
        f"a {prefix!r} of {layers} layers and width {hidden} is not a model this version knows as GGUF",
        f"known are {', '.join(entry.name for entry in known)}; give a Hugging Face directory for others",
    )


def _require_agreement(file: GgufFile, entry: GgufArchitecture) -> None:
    for key, value in file.metadata.items():
        if not key.startswith(f"{entry.prefix}."):
            continue
        if key not in entry.stated:
            raise SpecError(
                f"{file.path}: {key}",
                f"is not a key of {entry.name} and may change what it computes",
                "use a newer gemma-export, or a Hugging Face directory",
            )
        if not _same(value, entry.stated[key]):
            raise SpecError(
                f"{file.path}: {key}",
                f"is {value!r}, {entry.name} has {entry.stated[key]!r}",
                "the file is a variant this version cannot export; give a Hugging Face directory",
            )


def _same(value: MetadataValue, expected: MetadataValue) -> bool:
    if isinstance(expected, float) and isinstance(value, float):
        return math.isclose(value, expected, rel_tol=1e-6)  # GGUF keeps float32
    if isinstance(value, np.ndarray) or isinstance(expected, np.ndarray):
        return np.array_equal(np.asarray(value), np.asarray(expected))
    return type(value) is type(expected) and value == expected
