"""The towers of a random checkpoint, as published ones hold them: names, shapes, bounds
and files.

Gains of queries and keys are small in Gemma 4's: at 1 a random tower is chaotic, and the order of a sum
decides. Bounds are without end, as published ones may be. Not about the text model (`random_checkpoint`).
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from exporter.models.audio.defaults import SOUND_TOKEN_DEFAULTS
from exporter.models.audio.families import has_audio, read_audio
from exporter.models.audio.spec import FILTER, ConformerSpec
from exporter.models.text.spec import Role
from exporter.models.vision.defaults import GEMMA3_DEFAULTS, GEMMA4_DEFAULTS, VISION_DEFAULTS
from exporter.models.vision.families import read_vision
from exporter.models.vision.spec import BOUNDS, CHANNELS, PatchEmbedderSpec, PatchTowerSpec, SiglipSpec
from exporter.quantization.store.safetensors_writer import write_safetensors

SHARD = "model-tower.safetensors"
CHUNK = 1 << 24  # weights drawn at once
QUERY_GAIN = 0.35  # of published towers' size
INFINITE = {"_min": -math.inf, "_max": math.inf}

Shapes = Mapping[str, tuple[int, ...]]


def write_random_tower(config: Mapping[str, Any], directory: Path, seed: int) -> dict[str, str]:
    """Write the towers and the processor's files; name to shard. config: of the whole model."""
    shapes = stored_shapes(config)
    if has_audio(config):
        shapes |= stored_sound_shapes(config)
    generator = torch.Generator().manual_seed(seed + 1)
    headers = {name: ("BF16", shape) for name, shape in shapes.items()}
    write_safetensors(directory / SHARD, headers, _pieces(shapes, generator))
    for name, content in _processor_files(config).items():
        (directory / name).write_text(json.dumps(content, indent=1), encoding="utf-8")
    return dict.fromkeys(shapes, SHARD)


def marks_of(config: Mapping[str, Any]) -> dict[str, int]:
    """The special tokens of images and sounds by name; none for a model of text alone."""
    match config["model_type"]:
        case "gemma3":
            names = ("<image_soft_token>", "<start_of_image>", "<end_of_image>")
            keys = ("image_token_index", "boi_token_index", "eoi_token_index")
            return dict(zip(names, (GEMMA3_DEFAULTS[key] for key in keys), strict=True))
        case "gemma4" | "gemma4_unified":
            names = ("<|image|>", "<|image>", "<image|>")
            keys = ("image_token_id", "boi_token_id", "eoi_token_id")
            images = dict(zip(names, (GEMMA4_DEFAULTS[key] for key in keys), strict=True))
            names = ("<|audio|>", "<|audio>", "<audio|>")
            return images | dict(zip(names, SOUND_TOKEN_DEFAULTS.values(), strict=True))
        case _:
            return {}


def stored_shapes(config: Mapping[str, Any]) -> dict[str, tuple[int, ...]]:
    """What a published checkpoint stores of its tower, without `model.` before it."""
    spec = read_vision(config, config["text_config"], "a published model").spec
    shapes = {weight.name: weight.shape for weight in spec.weights()}
    match spec:
        case SiglipSpec():
            filters = "vision_tower.embeddings.patch_embedding.weight"
            shapes[filters] = (spec.hidden_size, CHANNELS, spec.patch_size, spec.patch_size)
            projection = "multi_modal_projector.mm_input_projection"
            out, inputs = shapes.pop(f"{projection}.weight")
            shapes[f"{projection}_weight"] = (inputs, out)
            return {
                name.replace("vision_tower.", "vision_tower.vision_model."): shape
                for name, shape in shapes.items()
            }
        case PatchTowerSpec():
            table = "vision_tower.patch_embedder.position_embedding_table"
            places = VISION_DEFAULTS[spec.model_type]["position_embedding_size"]
            shapes = _one_table(shapes, table, (2, places, spec.hidden_size))
            return {name: () if name.endswith(BOUNDS) else shape for name, shape in shapes.items()}
        case PatchEmbedderSpec():
            table = "vision_embedder.pos_embedding"
            shapes = _one_table(shapes, table, (spec.positions, 2, spec.width))
            projection = "vision_embedder.multimodal_embedder."
            return {name.replace(projection, "embed_vision."): shape for name, shape in shapes.items()}


def stored_sound_shapes(config: Mapping[str, Any]) -> dict[str, tuple[int, ...]]:
    """The same of its audio encoder."""
    spec = read_audio(config, config["text_config"], "a published model").spec
    shapes: dict[str, tuple[int, ...]] = {}
    for weight in spec.weights():
        stem, _, last = weight.name.rpartition(".")
        if last in BOUNDS:
            shapes[weight.name] = ()
        elif stem.endswith("depthwise_conv1d"):
            assert isinstance(spec, ConformerSpec)  # no other has one
            shapes[f"{stem}.weight"] = (spec.hidden_size, 1, spec.kernel)
        elif weight.role is Role.PATCHES:
            out, numbers = weight.shape
            shapes[weight.name] = (out, numbers // FILTER**2, FILTER, FILTER)
        else:
            shapes[weight.name] = weight.shape
    return shapes


def _one_table(shapes: Shapes, table: str, shape: tuple[int, ...]) -> dict[str, tuple[int, ...]]:
    """Both axes' tables as the one they are stored in."""
    others = {name: each for name, each in shapes.items() if name not in (f"{table}.x", f"{table}.y")}
    return {**others, table: shape}


def _pieces(shapes: Shapes, generator: torch.Generator) -> Iterator[tuple[str, int, NDArray[Any]]]:
    for name, shape in shapes.items():
        count, (mean, deviation) = math.prod(shape), _distribution(name, shape)
        for start in range(0, count, CHUNK):
            drawn = torch.empty(min(CHUNK, count - start)).normal_(0.0, 1.0, generator=generator)
            values = torch.full_like(drawn, mean) if deviation == 0.0 else drawn * deviation + mean
            half: NDArray[np.int16] = values.to(torch.bfloat16).view(torch.int16).numpy()
            yield name, start * 2, half


def _distribution(name: str, shape: tuple[int, ...]) -> tuple[float, float]:
    """Mean and standard deviation of a weight's entries."""
    if name.endswith(BOUNDS):
        return INFINITE[name[-4:]], 0.0
    if name.endswith(("q_norm.weight", "k_norm.weight")):
        return QUERY_GAIN, 0.02
    if "pos" in name and len(shape) > 1:
        return 0.0, 0.1
    if len(shape) > 1:
        return 0.0, math.prod(shape[1:]) ** -0.5 if "mm_input" not in name else shape[0] ** -0.5
    around_zero = (".bias", "std_bias", "mm_soft_emb_norm.weight", "per_dim_scale")
    neutral = 0.0 if name.endswith(around_zero) else 1.0
    return neutral, 0.1


def _processor_files(config: Mapping[str, Any]) -> dict[str, dict[str, Any]]:
    vision = config["vision_config"]
    if config["model_type"] == "gemma3":
        side = {"height": vision["image_size"], "width": vision["image_size"]}
        halves = [0.5, 0.5, 0.5]
        image = {"image_mean": halves, "image_std": halves, "resample": 2, "size": side}
        return {"preprocessor_config.json": image | {"do_normalize": True, "do_rescale": True}}
    image = {"patch_size": 16, "pooling_kernel_size": 3, "max_soft_tokens": 280, "resample": 3}
    return {"processor_config.json": {"image_processor": image | {"do_normalize": False}}}
