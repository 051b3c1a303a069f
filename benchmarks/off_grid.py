"""A function-preserving copy of a checkpoint whose linears lie on no quantiser's grid.

    python -m benchmarks.off_grid DIR [--model REF] [--seed 0]

Our sample is a dequantised GGUF: a quantiser that finds its grid again looks perfect and has shown nothing.
Seeded factors between 0.8 and 1.25 move between a norm's gain and the columns behind it, between up's rows
and down's columns, and between v's rows and o's columns, which changes no result. The tied embedding cannot
be moved: rows go into the residual stream and, the same ones, into the head, so that columns could only be
divided with a vector beside it, which checkpoints have no place for. It stays on its grid (Q8_0 in the
sample), in everybody's favour alike.
Writes a Hugging Face directory in float32, and fails unless logits over the evaluation text's beginning are
within 1e-4 of the original's. Not about how well anything quantises (`quality`).
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from benchmarks.one_variant import nothing
from exporter.checkpoints.interface import CheckpointSource, Vector
from exporter.checkpoints.open import open_source
from exporter.models.text.spec import LayerSpec, ModelSpec
from exporter.quantization.store.safetensors_writer import Piece, write_safetensors
from exporter.quantization.transforms.equalization import EqualizedSource
from exporter.reference.streamed import StreamedReference
from exporter.reference.texts import Texts
from exporter.reference.weights import OriginalWeights

LIMIT = 1e-4  # of a logit
CHECKED = 128  # tokens
ROWS = 4096  # written at once


@dataclass(frozen=True)
class OffGridSource(EqualizedSource):
    """Its factors were drawn; what is equalised on top of it adds its own to the digests."""

    def digests(self) -> Mapping[str, str]:
        found = dict(super().digests())
        return {**found, "(off grid)": found.pop("(equalisation)")}


def off_grid(source: CheckpointSource, seed: int = 0) -> OffGridSource:
    """The copy, its rows computed as they are read."""
    random = np.random.default_rng(seed)

    def drawn(count: int) -> Vector:
        return random.uniform(0.8, 1.25, count).astype(np.float32)

    columns: dict[str, Vector] = {}
    row_factors: dict[str, Vector] = {}
    gains: dict[str, Vector] = {}
    spec = source.components["text"].spec
    for layer in spec.layers:
        p = layer.prefix
        attention = ["q_proj"]
        if layer.owns_cache:
            attention += ["k_proj"] if layer.value_from_key else ["k_proj", "v_proj"]
        gains[f"{p}input_layernorm.weight"] = factor = drawn(spec.hidden_size)
        columns |= {f"{p}self_attn.{name}.weight": factor for name in attention}
        gains[f"{p}{spec.mlp_norm}.weight"] = factor = drawn(spec.hidden_size)
        columns |= {f"{p}mlp.{name}.weight": factor for name in ("gate_proj", "up_proj")}
        inner = drawn(layer.intermediate_size)
        row_factors[f"{p}mlp.up_proj.weight"] = columns[f"{p}mlp.down_proj.weight"] = inner
        if _values_reach_their_own_output_alone(spec, layer):
            values = drawn(layer.kv_heads * layer.head_dim).reshape(layer.kv_heads, 1, layer.head_dim)
            row_factors[f"{p}self_attn.v_proj.weight"] = values.reshape(-1)
            shared = np.repeat(values, layer.heads // layer.kv_heads, axis=1)
            columns[f"{p}self_attn.o_proj.weight"] = shared.reshape(-1)
    return OffGridSource(source, columns, row_factors, gains)


def _values_reach_their_own_output_alone(spec: ModelSpec, layer: LayerSpec) -> bool:
    shared = any(other.kv_source == layer.index != other.index for other in spec.layers)
    return layer.owns_cache and not (shared or layer.value_from_key or spec.v_norm)


def write_checkpoint(source: CheckpointSource, directory: Path) -> None:
    """A Hugging Face directory of the source's values in float32."""
    directory.mkdir(parents=True)
    headers = {name: ("F32", tensor.shape) for name, tensor in source.tensors.items()}
    write_safetensors(directory / "model.safetensors", headers, _pieces(source))
    config = {**source.architecture, "torch_dtype": "float32"}
    (directory / "config.json").write_text(json.dumps(config, indent=1), encoding="utf-8")
    source.write_tokenizer(directory)


def largest_difference(source: CheckpointSource, other: CheckpointSource, tokens: NDArray[Any]) -> float:
    """Of any logit over tokens [positions], between two checkpoints of one model."""
    largest = 0.0
    models = [StreamedReference(OriginalWeights(each)) for each in (source, other)]
    states = [model.final_states([tokens[None]], nothing) for model in models]
    heads = [model.head(each, ROWS) for model, each in zip(models, states, strict=True)]
    with torch.inference_mode():
        for (_, one), (_, two) in zip(*heads, strict=True):
            largest = max(largest, (one - two).abs().max().item())
    return largest


def _pieces(source: CheckpointSource) -> Iterator[Piece]:
    for name, tensor in source.tensors.items():
        row_bytes = 4 * (tensor.shape[1] if len(tensor.shape) == 2 else 1)
        for start in range(0, tensor.shape[0], ROWS):
            rows = source.rows(name, start, min(tensor.shape[0], start + ROWS))
            yield name, start * row_bytes, rows.astype(np.float32)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("directory", type=Path)
    parser.add_argument("--model")
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    source = open_source(options.model)
    write_checkpoint(off_grid(source, options.seed), options.directory)
    tokens = Texts.of(source).evaluation.tokens[:CHECKED]
    found = largest_difference(source, open_source(str(options.directory)), tokens)
    print(f"{options.directory}: largest difference of a logit over {len(tokens)} tokens: {found:.2g}")
    return 0 if found <= LIMIT else 1


if __name__ == "__main__":
    sys.exit(main())
