"""Tiny checkpoints that compressed-tensors packed, as Google's `-qat-w4a16-ct` ones are laid out.

The library finds the scales, rounds, packs and dequantises; embeddings and norms stay in bfloat16.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from compressed_tensors.compressors.pack_quantized import PackedQuantizationCompressor
from compressed_tensors.quantization import QuantizationArgs, QuantizationConfig, QuantizationScheme
from compressed_tensors.quantization.utils import calculate_qparams
from safetensors.torch import save_file
from torch import Tensor

from exporter.models.text.spec import Role
from tests.tiny import RandomSource, tiny_gemma3, write_tiny_tokenizer

W4A16 = QuantizationArgs(num_bits=4, symmetric=True, strategy="group", group_size=32)


@dataclass(frozen=True)
class Packed:
    """What was written. values: what the library itself dequantises, by canonical name, in float32."""

    source: RandomSource
    values: Mapping[str, Tensor]


def write_packed(
    directory: Path,
    *,
    weights: QuantizationArgs = W4A16,
    scale_dtype: torch.dtype = torch.bfloat16,
    config: Mapping[str, Any] | None = None,
    whole_config: Callable[[Mapping[str, Any]], dict[str, Any]] = dict,
    rename: Callable[[str], str] = str,
    shards: int = 1,
    extra: Mapping[str, Tensor] | None = None,
) -> Packed:
    """Write a Hub directory. whole_config: what surrounds the text model's config. rename: of weights."""
    directory.mkdir(parents=True, exist_ok=True)
    source = RandomSource(config or tiny_gemma3())
    scheme = QuantizationScheme(targets=["Linear"], weights=weights)
    stored: dict[str, Tensor] = dict(extra or {})
    values: dict[str, Tensor] = {}
    for weight in source.components["text"].weights:
        rounded = torch.from_numpy(source.weights[weight.name]).bfloat16()
        stem = rename(weight.name).removesuffix(".weight")
        if weight.role is not Role.LINEAR:
            stored[rename(weight.name)] = rounded
            values[weight.name] = rounded.float()
            continue
        state = {
            "weight": rounded.to(scale_dtype),
            "weight_scale": _scales(rounded, weights).to(scale_dtype),
        }
        packed = PackedQuantizationCompressor.compress(state, scheme)
        stored |= {f"{stem}.{key}": tensor.contiguous() for key, tensor in packed.items()}
        exact = {**packed, "weight_scale": packed["weight_scale"].float()}
        values[weight.name] = PackedQuantizationCompressor.decompress(exact, scheme)["weight"]
    _save(directory, stored, shards)
    quantization = QuantizationConfig(
        config_groups={"group_0": scheme},
        format="pack-quantized",
        quantization_status="compressed",
        ignore=["lm_head"],
    )
    settings = {
        **quantization.to_dict(),
        "sparsity_config": {},
        "transform_config": {},
        "version": "0.12.0",
    }
    whole = {**whole_config(source.architecture), "quantization_config": settings}
    (directory / "config.json").write_text(json.dumps(whole), encoding="utf-8")
    write_tiny_tokenizer(directory)
    return Packed(source, values)


def _scales(weight: Tensor, args: QuantizationArgs) -> Tensor:
    """The library's own symmetric scales, [out, groups]."""
    grouped = weight.float().reshape(len(weight), -1, args.group_size or weight.shape[1])
    scales, _ = calculate_qparams(grouped.amin(-1), grouped.amax(-1), args)
    assert isinstance(scales, Tensor)
    return scales


def _save(directory: Path, stored: Mapping[str, Tensor], shards: int) -> None:
    names = list(stored)
    if shards == 1:
        save_file(dict(stored), directory / "model.safetensors", {"format": "pt"})
        return
    placed: dict[str, str] = {}
    for i in range(shards):  # in turn: the three tensors of a matrix come to lie in different files
        shard = f"model-{i + 1:05d}-of-{shards:05d}.safetensors"
        mine = names[i::shards]
        save_file({name: stored[name] for name in mine}, directory / shard, {"format": "pt"})
        placed |= dict.fromkeys(mine, shard)
    index = {"metadata": {}, "weight_map": placed}
    (directory / "model.safetensors.index.json").write_text(json.dumps(index), encoding="utf-8")
