"""Checkpoints on disk in each format, written from a `RandomSource` by the format's own library.

Values survive as the format keeps them: `as_stored` says what a reader must give back. GGUF files are
`written_gguf`'s.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from safetensors.torch import save_file

from tests.tiny import RandomSource, tiny_gemma3, write_tiny_tokenizer

TORCH_DTYPES = {"BF16": torch.bfloat16, "F16": torch.float16, "F32": torch.float32}


def tiny_source() -> RandomSource:
    return RandomSource(tiny_gemma3())


def as_stored(values: NDArray[np.float32], dtype: str) -> NDArray[np.float32]:
    """What is left of float32 values in a safetensors dtype."""
    stored = torch.from_numpy(values).to(TORCH_DTYPES[dtype]).float().numpy()
    assert stored.dtype == np.float32
    return stored


def write_huggingface(
    source: RandomSource,
    directory: Path,
    *,
    shards: int = 1,
    dtypes: tuple[str, ...] = ("BF16",),
    extra: Mapping[str, torch.Tensor] | None = None,
) -> Path:
    """A Hub directory, dtypes taken in turn. extra: further tensors, in the last shard."""
    directory.mkdir(exist_ok=True)
    stored = {
        name: torch.from_numpy(values).to(TORCH_DTYPES[dtypes[i % len(dtypes)]])
        for i, (name, values) in enumerate(source.weights.items())
    } | dict(extra or {})
    names = list(stored)
    if shards == 1:
        save_file(stored, directory / "model.safetensors", {"format": "pt"})
    else:
        placed: dict[str, str] = {}
        for i in range(shards):
            shard = f"model-{i + 1:05d}-of-{shards:05d}.safetensors"
            mine = names[i * len(names) // shards : (i + 1) * len(names) // shards]
            save_file({name: stored[name] for name in mine}, directory / shard, {"format": "pt"})
            placed |= dict.fromkeys(mine, shard)
        write_json(directory / "model.safetensors.index.json", {"metadata": {}, "weight_map": placed})
    write_json(directory / "config.json", dict(source.architecture))
    write_json(directory / "generation_config.json", {"eos_token_id": [1, 5], "do_sample": True})
    write_tiny_tokenizer(directory)
    return directory


def write_json(path: Path, value: Any) -> None:
    path.write_text(json.dumps(value), encoding="utf-8")
