"""What a GGUF does not say: the full config.json of each model we know, and how to recognise it.

A Gemma GGUF has no layer pattern, query scale or sliding RoPE base (readers hard-code them per
architecture, and get some sizes wrong), so the numbers come from the table of published models and the
file's metadata must agree with every one it states. Not about tensor names (`gguf_source`).
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from exporter.checkpoints.gguf_file import GgufFile, MetadataValue
from exporter.errors import SpecError
from exporter.models.published import published_config, published_spec


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


def _gemma3_text(model_id: str) -> GgufArchitecture:
    """A Gemma 3 text-only size: its published numbers, under the names GGUF has for them."""
    config, spec = published_config(model_id), published_spec(model_id)
    layer = spec.layers[0]  # they differ in RoPE and window alone
    local = next(each for each in spec.layers if each.window is not None)
    full = next(each for each in spec.layers if each.window is None)
    stated: dict[str, MetadataValue] = {
        "vocab_size": spec.vocab_size,
        "context_length": spec.context_length,
        "embedding_length": spec.hidden_size,
        "block_count": len(spec.layers),
        "feed_forward_length": layer.intermediate_size,
        "attention.head_count": layer.heads,
        "attention.head_count_kv": layer.kv_heads,
        "attention.key_length": layer.head_dim,
        "attention.value_length": layer.head_dim,
        "attention.layer_norm_rms_epsilon": spec.norm_eps,
        "attention.sliding_window": config["sliding_window"],
        "attention.sliding_window_pattern": full.index + 1,
        "rope.dimension_count": layer.head_dim,
        "rope.freq_base": full.rope.theta,
        "rope.freq_base_swa": local.rope.theta,
    }
    return GgufArchitecture(model_id, "gemma3", config, {f"gemma3.{key}": v for key, v in stated.items()})


ARCHITECTURES = (_gemma3_text("gemma-3-270m"), _gemma3_text("gemma-3-1b"))


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
