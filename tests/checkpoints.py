"""Tiny checkpoints on disk, in the layouts they are published in."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from exporter.quantization.store.safetensors_writer import write_safetensors
from tests.tiny import RandomSource, tiny_gemma3, write_tiny_tokenizer


def write_huggingface(directory: Path, config: dict[str, Any] | None = None) -> Path:
    """A Hugging Face directory of a tiny model, one fp32 safetensors file."""
    return write_source(directory, RandomSource(config or tiny_gemma3()))


def write_source(directory: Path, source: RandomSource) -> Path:
    """The same, of weights a test may have changed."""
    directory.mkdir(parents=True, exist_ok=True)
    write_safetensors(
        directory / "model.safetensors",
        {name: ("F32", values.shape) for name, values in source.weights.items()},
        ((name, 0, values) for name, values in source.weights.items()),
    )
    (directory / "config.json").write_text(json.dumps(dict(source.architecture)), encoding="utf-8")
    write_tiny_tokenizer(directory)
    return directory
