"""Checkpoints on disk in each format, written from a `RandomSource` by the format's own library.

Values survive as the format keeps them: `as_bf16`, `as_gguf` say what a reader must give back.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import gguf
import numpy as np
import torch
from numpy.typing import NDArray
from safetensors.torch import save_file

from exporter.checkpoints.gguf_architectures import GgufArchitecture
from exporter.checkpoints.gguf_source import PER_LAYER, WHOLE_MODEL
from exporter.models.spec import Role
from tests.tiny import SPECIAL_TOKENS, VOCABULARY, RandomSource, tiny_gemma3, write_tiny_tokenizer

TORCH_DTYPES = {"BF16": torch.bfloat16, "F16": torch.float16, "F32": torch.float32}
WORDS = ("▁", "a", "b", "ab", "▁a", "▁ab", "c", "abc", "▁c")


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


def tiny_architecture() -> GgufArchitecture:
    """The table's entry for the tiny Gemma 3."""
    config = tiny_gemma3()
    stated = {
        "gemma3.block_count": config["num_hidden_layers"],
        "gemma3.embedding_length": config["hidden_size"],
        "gemma3.attention.layer_norm_rms_epsilon": config["rms_norm_eps"],
        "gemma3.attention.sliding_window": config["sliding_window"],
    }
    return GgufArchitecture("tiny-gemma", "gemma3", config, stated)


def tiny_vocabulary() -> tuple[list[str], list[float], list[int]]:
    """Pieces, scores and types in GGUF's spelling: specials, bytes, a few words, unused ones."""
    pieces = [*SPECIAL_TOKENS, *(f"<0x{byte:02X}>" for byte in range(256)), "  ", "   ", *WORDS]
    kinds = [3] * len(SPECIAL_TOKENS) + [6] * 256 + [4, 4] + [1] * len(WORDS)
    scores = [-1000.0] * (len(pieces) - len(WORDS)) + [-float(i) for i in range(len(WORDS))]
    unused = VOCABULARY - len(pieces)
    pieces += [f"<unused{i}>" for i in range(unused)]
    return pieces, scores + [-1000.0] * unused, kinds + [3] * unused


def as_gguf(values: NDArray[np.float32], kind: str) -> NDArray[np.float32]:
    """What is left of float32 values in a GGUF tensor type."""
    number = gguf.GGMLQuantizationType[kind]
    left: NDArray[np.float32] = gguf.dequantize(gguf.quantize(values, number), number).astype(np.float32)
    return left


def gguf_kind(source: RandomSource, name: str, kinds: tuple[str, ...]) -> str:
    """The type a tensor is written in: vectors F32, matrices taken in turn."""
    matrices = [weight.name for weight in source.spec.weights() if weight.is_matrix]
    return kinds[matrices.index(name) % len(kinds)] if name in matrices else "F32"


def write_gguf(
    source: RandomSource,
    path: Path,
    *,
    kinds: tuple[str, ...] = ("Q8_0",),
    metadata: Mapping[str, Any] | None = None,
    without: tuple[str, ...] = (),
) -> Path:
    """A GGUF of the tiny Gemma 3, with llama.cpp's names and its 1 added to norms.

    metadata: keys beside the usual or in their place. without: metadata keys and tensors left out.
    """
    writer = gguf.GGUFWriter(path, "gemma3")
    pieces, scores, types = tiny_vocabulary()
    stated: dict[str, Any] = {
        **tiny_architecture().stated,
        "tokenizer.ggml.model": "llama",
        "tokenizer.ggml.tokens": pieces,
        "tokenizer.ggml.scores": scores,
        "tokenizer.ggml.token_type": types,
        "tokenizer.ggml.padding_token_id": 0,
        "tokenizer.ggml.eos_token_id": 1,
        "tokenizer.ggml.bos_token_id": 2,
        "tokenizer.ggml.unknown_token_id": 3,
        "tokenizer.chat_template": "{{ bos_token }}{{ messages[0]['content'] }}",
    } | dict(metadata or {})
    for key, value in stated.items():
        if key not in without:
            _add(writer, key, value)
    for weight in source.spec.weights():
        name = stored_name(weight.name)
        if name in without:
            continue
        values = source.weights[weight.name]
        if weight.role is Role.NORM and source.spec.norm_adds_one:
            values = values + np.float32(1)
        kind = gguf.GGMLQuantizationType[gguf_kind(source, weight.name, kinds)]
        writer.add_tensor(name, gguf.quantize(values, kind), raw_dtype=kind)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return path


def stored_name(canonical: str) -> str:
    """llama.cpp's name of a weight."""
    whole = {canonical: stored for stored, canonical in WHOLE_MODEL.items()}
    if canonical in whole:
        return whole[canonical]
    layer, _, part = canonical.removeprefix("model.layers.").partition(".")
    parts = {canonical: stored for stored, canonical in PER_LAYER.items()}
    return f"blk.{layer}.{parts[part.removesuffix('.weight')]}.weight"


def _add(writer: gguf.GGUFWriter, key: str, value: Any) -> None:
    match value:
        case bool():
            writer.add_bool(key, value)
        case int():
            writer.add_uint32(key, value)
        case float():
            writer.add_float32(key, value)
        case str():
            writer.add_string(key, value)
        case list():
            writer.add_array(key, value)
        case _:
            raise TypeError(key)
