"""Adapters on disk, written without peft so that anything can be wrong with them, and opened."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from exporter.checkpoints.adapters.source import LoraSource
from exporter.errors import CheckpointError
from exporter.quantization.store.safetensors_writer import write_safetensors
from tests.tiny import RandomSource, tiny_gemma3

MODULE = "model.layers.3.self_attn.q_proj"  # [128, 64] of the tiny Gemma 3
ADAPTED = f"{MODULE}.weight"
OUTER = "base_model.model."
EMBEDDING = "model.embed_tokens"
STEM, EMBED, HEAD = f"{OUTER}{MODULE}", f"{OUTER}{EMBEDDING}", f"{OUTER}lm_head"  # as the file has them
DELTA = "token_adapter.trainable_tokens_delta"
RANK = 4
Tensors = dict[str, NDArray[np.float32]]


def values(*shape: int, seed: int = 7) -> NDArray[np.float32]:
    return np.random.default_rng(seed).standard_normal(shape).astype(np.float32)


def factors(module: str = MODULE, out: int = 128, inputs: int = 64, rank: int = RANK) -> Tensors:
    """The factors of one linear, by their names in the file."""
    return {
        f"{OUTER}{module}.lora_A.weight": values(rank, inputs),
        f"{OUTER}{module}.lora_B.weight": values(out, rank, seed=8),
    }


def write_adapter(
    directory: Path, tensors: Mapping[str, NDArray[np.float32]] | None = None, **settings: Any
) -> Path:
    """An adapter of one query projection, or of these tensors; settings go to adapter_config.json."""
    directory.mkdir(exist_ok=True, parents=True)
    config = {"peft_type": "LORA", "r": RANK, "lora_alpha": 8, "target_modules": ["q_proj"], **settings}
    (directory / "adapter_config.json").write_text(json.dumps(config, indent=1), encoding="utf-8")
    kept = factors() if tensors is None else tensors
    write_safetensors(
        directory / "adapter_model.safetensors",
        {name: ("F32", each.shape) for name, each in kept.items()},
        ((name, 0, each) for name, each in kept.items()),
    )
    return directory


def opened(directory: Path, tensors: Tensors, **settings: Any) -> LoraSource:
    """An adapter of these tensors, merged into a tiny Gemma 3."""
    return LoraSource.open(RandomSource(tiny_gemma3()), write_adapter(directory, tensors, **settings))


def refused(directory: Path, complaint: str, tensors: Tensors, **settings: Any) -> CheckpointError:
    """Opening is refused with where, what and what to do."""
    with pytest.raises(CheckpointError, match=complaint) as caught:
        opened(directory, tensors, **settings)
    assert str(directory) in caught.value.where
    assert caught.value.then
    return caught.value


def of_embedding(rank: int = RANK, rows: int = 512) -> Tensors:
    return {
        f"{EMBED}.lora_embedding_A": values(rank, rows),
        f"{EMBED}.lora_embedding_B": values(64, rank, seed=9),
    }


def of_head(rank: int = RANK, rows: int = 512) -> Tensors:
    return {f"{HEAD}.lora_A.weight": values(rank, 64), f"{HEAD}.lora_B.weight": values(rows, rank, seed=9)}
