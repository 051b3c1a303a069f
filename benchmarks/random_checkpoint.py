"""A true-shaped checkpoint of random weights, for measuring what we cannot download.

    python -m benchmarks.random_checkpoint gemma-2-2b DIR [--seed 0] [--layers N] [--tower]

Writes a Hugging Face directory: config.json of the published model, bf16 safetensors of one decoder layer
a shard, a byte tokenizer. With --tower as a checkpoint of text, images and sounds is published: its towers
in another shard, processor files, and the ids of both as special tokens (`random_tower`). Streamed: a few
hundred MB of memory at any size. Weights have the scale of a network at rest (matrices 1/sqrt(inputs),
norms near their neutral value), but for the embedding, which is small beside what layers add, and the last
norm, which makes up for it: else the tied head answers every token with itself, whatever is before it.
Logits' standard deviation is SPREAD. --layers keeps only the first N layers, one of them global where the
model has any, for runtimes too slow for all.
"""

from __future__ import annotations

import argparse
import json
import math
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from benchmarks.random_tower import marks_of, write_random_tower
from exporter.models.published import published_config, published_whole_config
from exporter.models.text.families import read_spec
from exporter.models.text.families.attention import FULL
from exporter.models.text.spec import ModelSpec, Role, WeightSpec
from exporter.quantization.store.safetensors_writer import write_safetensors

CHUNK = 1 << 24  # weights drawn at once
SPREAD = 3.0  # of logits: the likeliest token has some percent


def write_random_checkpoint(
    model_id: str, directory: Path, *, seed: int = 0, layers: int | None = None, tower: bool = False
) -> ModelSpec:
    """Write the checkpoint and return its text model's spec. The same seed gives the same bytes, those of
    the text model with towers and without. tower: with those of a model that sees or hears."""
    whole = published_whole_config(model_id) if tower else None
    config = published_config(model_id) if whole is None else whole["text_config"]
    if layers is not None:
        config = _first_layers(config, layers)
    spec = read_spec(config, model_id)
    directory.mkdir(parents=True)
    shards: dict[str, list[WeightSpec]] = {}
    for weight in spec.weights():
        parts = weight.name.split(".")
        label = f"layer-{int(parts[2]):03d}" if parts[1] == "layers" else "outside-" + parts[1]
        shards.setdefault(f"model-{label}.safetensors", []).append(weight)
    generator = torch.Generator().manual_seed(seed)
    weight_map = {}
    for shard, weights in shards.items():
        headers = {weight.name: ("BF16", weight.shape) for weight in weights}
        write_safetensors(directory / shard, headers, _pieces(spec, weights, generator))
        weight_map.update(dict.fromkeys(headers, shard))
    if whole is not None:
        config = {**whole, "text_config": config}
        weight_map |= write_random_tower(config, directory, seed)
    index = {"metadata": {}, "weight_map": weight_map}
    (directory / "model.safetensors.index.json").write_text(json.dumps(index, indent=1), encoding="utf-8")
    (directory / "config.json").write_text(json.dumps(config, indent=1), encoding="utf-8")
    write_byte_tokenizer(directory, marks_of(config))
    return spec


def write_byte_tokenizer(directory: Path, marks: Mapping[str, int] | None = None) -> None:
    """tokenizer.json with <pad> <eos> <bos> <unk> and a token per byte: enough to feed text. marks: further
    special tokens at ids of their own, with unused ones before them."""
    from tokenizers import Tokenizer, decoders, models

    specials = ("<pad>", "<eos>", "<bos>", "<unk>")
    vocabulary = {token: number for number, token in enumerate(specials)}
    vocabulary |= {f"<0x{byte:02X}>": len(specials) + byte for byte in range(256)}
    if marks:
        named = {id: name for name, id in marks.items()}
        for id in range(len(vocabulary), max(named) + 1):
            vocabulary[named.get(id, f"<unused{id}>")] = id
    tokenizer = Tokenizer(models.BPE(vocabulary, [], unk_token="<unk>", byte_fallback=True))
    tokenizer.decoder = decoders.Sequence([decoders.ByteFallback(), decoders.Fuse()])
    tokenizer.add_special_tokens([*specials, *(marks or ())])
    tokenizer.save(str(directory / "tokenizer.json"))
    (directory / "tokenizer_config.json").write_text(
        '{"tokenizer_class": "PreTrainedTokenizerFast", "bos_token": "<bos>", "eos_token": "<eos>"}',
        encoding="utf-8",
    )


def _pieces(
    spec: ModelSpec, weights: list[WeightSpec], generator: torch.Generator
) -> Iterator[tuple[str, int, NDArray[Any]]]:
    for weight in weights:
        count, mean, deviation = math.prod(weight.shape), *_distribution(spec, weight)
        for start in range(0, count, CHUNK):
            drawn = torch.empty(min(CHUNK, count - start)).normal_(mean, deviation, generator=generator)
            half: NDArray[np.int16] = drawn.to(torch.bfloat16).view(torch.int16).numpy()
            yield weight.name, start * 2, half


def _distribution(spec: ModelSpec, weight: WeightSpec) -> tuple[float, float]:
    """Mean and standard deviation of a weight's entries."""
    embedded = _embedded_size(spec)
    match weight.role:
        case Role.NORM if weight.name == "model.norm.weight":
            gain = SPREAD / embedded
            return (gain - 1.0 if spec.norm_adds_one else gain), 0.1 * gain
        case Role.NORM if spec.query_scale == 1.0 and weight.name.endswith("q_norm.weight"):
            # Gemma 4 scales q·k by this gain alone. At 1, random attention is one-hot, and dozens of such
            # layers make a last bit of any number into other logits.
            return weight.shape[0] ** -0.5, 0.1 * weight.shape[0] ** -0.5
        case Role.NORM:
            return (0.0 if spec.norm_adds_one else 1.0), 0.1
        case Role.SCALAR:
            return 1.0, 0.01
        case Role.EMBEDDING | Role.HEAD:
            return 0.0, embedded * spec.hidden_size**-0.5
        case _:
            return 0.0, weight.shape[-1] ** -0.5


def _embedded_size(spec: ModelSpec) -> float:
    """Root mean square of an embedded token, to which each layer adds twice about 1: such that the token's
    own logit, by a tied head, is one standard deviation up."""
    return math.sqrt(2.0 * len(spec.layers) / spec.hidden_size)


def _first_layers(config: dict[str, Any], layers: int) -> dict[str, Any]:
    shortened = {**config, "num_hidden_layers": layers}
    if "layer_types" in config:
        kinds = config["layer_types"][:layers]
        if FULL in config["layer_types"] and FULL not in kinds:
            kinds[-1] = FULL
        shortened["layer_types"] = kinds
    if shared := config.get("num_kv_shared_layers"):  # the last ones, as far as they are still there
        owning = config["num_hidden_layers"] - shared
        shortened["num_kv_shared_layers"] = max(0, layers - owning)
    return shortened


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("model_id")
    parser.add_argument("directory", type=Path)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--layers", type=int)
    parser.add_argument("--tower", action="store_true")
    options = parser.parse_args()
    spec = write_random_checkpoint(
        options.model_id,
        options.directory,
        seed=options.seed,
        layers=options.layers,
        tower=options.tower,
    )
    print(f"{options.directory}: {spec.parameter_count() / 1e6:.0f} M parameters")


if __name__ == "__main__":
    main()
