"""Tiny checkpoints with towers, in both layouts that transformers has saved.

Image towers are `tests.tiny_towers`', audio encoders `tests.tiny_encoders`'.
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
from tests.tiny_encoders import SOUND_BEGIN, SOUND_END, SOUND_SOFT, TINY_ENCODERS
from tests.tiny_image_stores import SOUND_TOKENS, processor_files, tower_as_published
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
# What is left out where text alone is wanted.
TOWERS = {
    "gemma3": ("vision tower", "vision projector"),
    "gemma4": ("vision tower", "vision projector", "audio tower", "audio projector"),
    "gemma4_unified": ("vision embedder", "audio embedder"),
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
        if family != "gemma3":
            config |= {"audio_token_id": SOUND_SOFT, "boa_token_id": SOUND_BEGIN}
            config |= {"eoa_token_id": SOUND_END, "eoa_token_index": SOUND_END}
            config["audio_config"] = dict(TINY_ENCODERS[KINDS[family]]().config)
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
    kind = KINDS[family]
    encoder = TINY_ENCODERS[kind]() if kind in TINY_ENCODERS else None
    towers = {} if encoder is None else dict(encoder.stored)
    for name, values in tower_as_published(TINY_TOWERS[kind](), kind).items():
        towers[name.removeprefix("model.")] = values
    towers = {tower_name(name, layout): values.contiguous() for name, values in towers.items()}
    save_file({**towers, **text, **(extra or {})}, directory / "model.safetensors", {"format": "pt"})
    write_json(directory / "config.json", multimodal_config(family, source.architecture))
    write_json(directory / "generation_config.json", {"eos_token_id": [1, 5], "do_sample": True})
    write_tiny_tokenizer(directory)
    name_unused(directory, {SOFT: "<image>", BEGIN: "<begin_of_image>", END: "<end_of_image>"})
    name_unused(directory, SOUND_TOKENS)
    for name, content in processor_files(kind, TINY_TOWERS[kind](), encoder).items():
        write_json(directory / name, content)
    return source


def write_json(path: Path, value: Any) -> None:
    path.write_text(json.dumps(value), encoding="utf-8")
