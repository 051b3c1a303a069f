"""Tiny checkpoints with towers, in both layouts that transformers has saved.

Image towers are `tests.tiny_towers`'; of sound there are a few tensors, named as published ones are.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Literal

import torch
from safetensors.torch import save_file

from tests.tiny import (
    VOCABULARY,
    RandomSource,
    name_unused,
    tiny_gemma3,
    tiny_gemma4_12b,
    tiny_gemma4_e2b,
    write_tiny_tokenizer,
)
from tests.tiny_image_stores import processor_files, tower_as_published
from tests.tiny_towers import BEGIN, END, SOFT, TINY_TOWERS

# outer: language_model.model.layers…, as Gemma 3 is published.
# inner: model.language_model.layers…, as Gemma 4 is.
Layout = Literal["outer", "inner"]
LAYOUTS: tuple[Layout, ...] = ("outer", "inner")

TEXT_CONFIGS: dict[str, Callable[[], dict[str, Any]]] = {
    "gemma3": tiny_gemma3,
    "gemma4": tiny_gemma4_e2b,
    "gemma4_unified": tiny_gemma4_12b,
}

KINDS = {"gemma3": "Gemma 3", "gemma4": "Gemma 4 E2B", "gemma4_unified": "Gemma 4 12B"}
# Of sound, which is left out: shapes by name, without the `model.` that the inner layout puts before it.
SOUND: dict[str, dict[str, tuple[int, ...]]] = {
    "gemma3": {},
    "gemma4": {
        "audio_tower.layers.0.lconv1d.linear_start.linear.weight": (16, 8),
        "audio_tower.layers.0.lconv1d.linear_start.input_max": (),
        "embed_audio.embedding_projection.weight": (64, 16),
    },
    "gemma4_unified": {"embed_audio.embedding_projection.weight": (64, 16)},
}

LEFT_OUT: dict[str, tuple[str, ...]] = {
    "gemma3": (),
    "gemma4": ("audio tower, 129 parameters", "audio projector, 1,024 parameters"),
    "gemma4_unified": ("audio embedder, 1,024 parameters",),
}
# Where text alone is wanted.
IMAGES_LEFT_OUT = {
    "gemma3": ("vision tower", "vision projector"),
    "gemma4": ("vision tower", "vision projector"),
    "gemma4_unified": ("vision embedder",),
}


def stored_name(canonical: str, layout: Layout) -> str:
    """What a checkpoint with towers calls a weight of the text model."""
    if layout == "outer":
        return f"language_model.{canonical}"
    return canonical if canonical.startswith("lm_head.") else f"model.language_model.{canonical[6:]}"


def tower_name(name: str, layout: Layout) -> str:
    return name if layout == "outer" else f"model.{name}"


def multimodal_config(family: str, text: Mapping[str, Any]) -> dict[str, Any]:
    """config.json around a text_config, with the top-level keys of a published one; its ids and its tower
    are the tiny model's where the text is."""
    config = _published_config(family, text)
    if text.get("vocab_size") == VOCABULARY:
        end = "index" if family == "gemma3" else "id"
        config |= {f"image_token_{end}": SOFT, f"boi_token_{end}": BEGIN, f"eoi_token_{end}": END}
        config |= TINY_TOWERS[KINDS[family]]().config
    return config


def _published_config(family: str, text: Mapping[str, Any]) -> dict[str, Any]:
    common = {"model_type": family, "text_config": dict(text), "initializer_range": 0.02}
    if family == "gemma3":
        return common | {
            "architectures": ["Gemma3ForConditionalGeneration"],
            "boi_token_index": 255999,
            "eoi_token_index": 256000,
            "image_token_index": 262144,
            "mm_tokens_per_image": 256,
            "torch_dtype": "bfloat16",
            "vision_config": {"model_type": "siglip_vision_model", "hidden_size": 8},
        }
    return common | {
        "architectures": [f"{'Gemma4' if family == 'gemma4' else 'Gemma4Unified'}ForConditionalGeneration"],
        "audio_config": {"model_type": f"{family}_audio"},
        "audio_token_id": 258881,
        "boa_token_id": 256000,
        "boi_token_id": 255999,
        "dtype": "bfloat16",
        "eoa_token_id": 258883,
        "eoa_token_index": 258883,
        "eoi_token_id": 258882,
        "image_token_id": 258880,
        "tie_word_embeddings": True,
        "video_token_id": 258884,
        "vision_config": {"model_type": f"{family}_vision"},
        "vision_soft_tokens_per_image": 280,
    }


def write_multimodal(
    directory: Path,
    family: str,
    layout: Layout,
    extra: Mapping[str, torch.Tensor] | None = None,
) -> RandomSource:
    """Write the directory in bfloat16 and return the text model's weights as they were before rounding.

    extra: further tensors, by the name they are stored under.
    """
    directory.mkdir(parents=True, exist_ok=True)
    source = RandomSource(TEXT_CONFIGS[family]())
    text = {
        stored_name(name, layout): torch.from_numpy(values).bfloat16()
        for name, values in source.weights.items()
    }
    towers = {
        tower_name(name, layout): torch.randn(shape, generator=torch.Generator().manual_seed(1))
        for name, shape in SOUND[family].items()
    }
    kind = KINDS[family]
    towers |= {
        tower_name(name.removeprefix("model."), layout): values.contiguous()
        for name, values in tower_as_published(TINY_TOWERS[kind](), kind).items()
    }
    save_file({**towers, **text, **(extra or {})}, directory / "model.safetensors", {"format": "pt"})
    write_json(directory / "config.json", multimodal_config(family, source.architecture))
    write_json(directory / "generation_config.json", {"eos_token_id": [1, 5], "do_sample": True})
    write_tiny_tokenizer(directory)
    name_unused(directory, {SOFT: "<image>", BEGIN: "<begin_of_image>", END: "<end_of_image>"})
    for name, content in processor_files(kind, TINY_TOWERS[kind]()).items():
        write_json(directory / name, content)
    return source


def write_json(path: Path, value: Any) -> None:
    path.write_text(json.dumps(value), encoding="utf-8")
