"""Tiny models that see and hear: checkpoints with towers as published, and quantised stores made of them.

Made through the real source and the real store. Text configs are `tests.tiny`'s, towers
`tests.tiny_towers`' and `tests.tiny_encoders`'. Not about what a tower computes, nor about pictures
(`tests.pictures`) or sounds.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save_file
from torch import Tensor

from exporter.checkpoints.huggingface.source import HuggingFaceSource
from exporter.models.audio.spec import AudioSpec, WaveformSpec
from exporter.models.components import towers_of
from exporter.models.text.spec import Role
from exporter.planning.recipe import Rule, load_recipe
from exporter.planning.tower_rules import tower_rules
from exporter.quantization.quantize import write_quantized
from exporter.quantization.store.checkpoint import QuantizedCheckpoint
from exporter.schemes import SCHEMES
from tests.tiny import (
    RandomSource,
    name_unused,
    tiny_gemma3,
    tiny_gemma4_12b,
    tiny_gemma4_e2b,
    write_tiny_tokenizer,
)
from tests.tiny_encoders import SOUND_BEGIN, SOUND_END, SOUND_SOFT, TINY_ENCODERS, TinyEncoder
from tests.tiny_towers import BEGIN, END, SOFT, TINY_TOWERS, TinyTower

TEMPLATE = (
    "{{ bos_token }}{% for message in messages %}<start_of_turn>"
    "{{ 'model' if message['role'] == 'assistant' else message['role'] }}\n"
    "{% if message['content'] is string %}{{ message['content'] | trim }}{% else %}"
    "{% for part in message['content'] %}{% if part['type'] == 'image' %}PLACEHOLDER"
    "{% elif part['type'] == 'audio' %}<|audio|>"
    "{% else %}{{ part['text'] | trim }}{% endif %}{% endfor %}{% endif %}<end_of_turn>\n"
    "{% endfor %}{% if add_generation_prompt %}<start_of_turn>model\n{% endif %}"
)
GEMMA3_TOKENS = {SOFT: "<image_soft_token>", BEGIN: "<start_of_image>", END: "<end_of_image>"}
GEMMA4_TOKENS = {SOFT: "<|image|>", BEGIN: "<|image>", END: "<image|>"}
SOUND_TOKENS = {SOUND_SOFT: "<|audio|>", SOUND_BEGIN: "<|audio>", SOUND_END: "<audio|>"}
HALVES = [0.5, 0.5, 0.5]


def tiny_gemma4_31b() -> dict[str, Any]:
    """text_config of 31B in small: 12B's layers in the class of E2B, without per-layer embeddings."""
    return {
        **tiny_gemma4_12b(),
        "model_type": "gemma4_text",
        "architectures": ["Gemma4ForCausalLM"],
        "hidden_size_per_layer_input": 0,
        "use_bidirectional_attention": "vision",
    }


def _tiny_gemma4_12b() -> dict[str, Any]:
    return tiny_gemma4_12b() | {"use_bidirectional_attention": "vision"}


TEXT_CONFIGS: Mapping[str, Callable[[], dict[str, Any]]] = {
    "Gemma 3": tiny_gemma3,
    "Gemma 4 E2B": tiny_gemma4_e2b,
    "Gemma 4 31B": tiny_gemma4_31b,
    "Gemma 4 12B": _tiny_gemma4_12b,
}
KINDS = tuple(TEXT_CONFIGS)


def tiny_image_store(
    directory: Path,
    kind: str,
    scheme: str = "int8-channel",
    sound: bool = False,
    of_tower: str | None = None,
) -> QuantizedCheckpoint:
    """A store of text and tower, and of an audio encoder where `sound` is asked for. scheme: of every
    matrix of the text; towers have what a recipe of it has, which is fp16 or fp32 throughout for those.
    of_tower: of the image tower's linears instead, by a rule.

    directory: the checkpoint goes to `checkpoint` in it, the store beside it, by its scheme.
    """
    checkpoint = directory / "checkpoint"
    if not checkpoint.exists():
        write_tiny_multimodal(checkpoint, kind, encoder=TINY_ENCODERS[kind]() if sound else None)
    source = HuggingFaceSource.open(checkpoint)
    everything = Rule(("*",), SCHEMES[scheme], "nearest", False, "a test's")
    recipe = replace(load_recipe("int8"), rules=(everything,), equalization=None, calibration=None)
    schemes = recipe.schemes(source.components["text"].spec)
    if of_tower is not None:
        weights = source.components["vision"].weights
        linears = tuple(each.name for each in weights if each.role is Role.TOWER_LINEAR)
        ruled = Rule(linears, SCHEMES[of_tower], "nearest", False, "a test's")
        recipe = replace(recipe, vision=(ruled,))
    for tower in towers_of(source.components):
        schemes |= {name: rule.scheme for name, rule in tower_rules(recipe, tower).items()}
    return write_quantized(source, schemes, directory / f"store-{of_tower or scheme}", lambda *_: None)


def write_tiny_multimodal(
    directory: Path, kind: str, tower: TinyTower | None = None, encoder: TinyEncoder | None = None
) -> Path:
    """A checkpoint with all that a published one has; float32, so that nothing is rounded.

    tower: None for `TINY_TOWERS`'. encoder: None for a checkpoint that does not hear.
    """
    directory.mkdir(parents=True, exist_ok=True)
    tower, text = tower or TINY_TOWERS[kind](), RandomSource(TEXT_CONFIGS[kind]())
    weights = {_text_name(name, kind): torch.from_numpy(each) for name, each in text.weights.items()}
    weights |= {name: each.contiguous() for name, each in tower_as_published(tower, kind).items()}
    if encoder is not None:
        weights |= {f"model.{name}": each.contiguous() for name, each in encoder.stored.items()}
    save_file(weights, directory / "model.safetensors", {"format": "pt"})
    _write_json(directory / "config.json", whole_config(kind, tower, encoder))
    _write_json(directory / "generation_config.json", {"eos_token_id": [1, 5], "do_sample": True})
    _write_tokenizer(directory, kind, hears=encoder is not None)
    for name, content in processor_files(kind, tower, encoder).items():
        _write_json(directory / name, content)
    return directory


def whole_config(kind: str, tower: TinyTower, encoder: TinyEncoder | None = None) -> dict[str, Any]:
    """config.json around the text_config."""
    text = TEXT_CONFIGS[kind]()
    common = {**tower.config, "text_config": text, "torch_dtype": "float32", "tie_word_embeddings": True}
    if kind == "Gemma 3":
        return common | {
            "architectures": ["Gemma3ForConditionalGeneration"],
            "model_type": "gemma3",
            "image_token_index": SOFT,
            "boi_token_index": BEGIN,
            "eoi_token_index": END,
        }
    unified = kind == "Gemma 4 12B"
    return common | {
        "architectures": [f"Gemma4{'Unified' if unified else ''}ForConditionalGeneration"],
        "model_type": "gemma4_unified" if unified else "gemma4",
        "audio_config": None if encoder is None else dict(encoder.config),
        "audio_token_id": SOUND_SOFT,
        "boa_token_id": SOUND_BEGIN,
        "eoa_token_index": SOUND_END,
        "image_token_id": SOFT,
        "boi_token_id": BEGIN,
        "eoi_token_id": END,
        "vision_soft_tokens_per_image": 280,
    }


def tower_as_published(tower: TinyTower, kind: str) -> dict[str, Tensor]:
    """Under the names that published checkpoints have."""
    found = {}
    for name, value in tower.stored.items():
        if kind == "Gemma 3":
            plain = name.removeprefix("vision_tower.").removeprefix("vision_model.")
            name = f"vision_tower.vision_model.{plain}" if name.startswith("vision_tower.") else name
        elif kind == "Gemma 4 12B":
            memory = "vision_embedder.multimodal_embedder."
            name = f"embed_vision.{name.removeprefix(memory)}" if name.startswith(memory) else name
        found[name if kind == "Gemma 3" else f"model.{name}"] = value
    return found


def processor_files(
    kind: str, tower: TinyTower, encoder: TinyEncoder | None = None
) -> dict[str, dict[str, Any]]:
    """What says how pictures and sounds are prepared, by name of the file."""
    vision = tower.config["vision_config"]
    scaled = {"do_rescale": True, "rescale_factor": 1 / 255, "do_convert_rgb": True, "do_resize": True}
    if kind == "Gemma 3":
        side, soft = vision["image_size"], tower.config["mm_tokens_per_image"]
        return {
            "processor_config.json": {"image_seq_length": soft, "processor_class": "Gemma3Processor"},
            "preprocessor_config.json": scaled
            | {
                "do_normalize": True,
                "do_pan_and_scan": None,
                "image_mean": HALVES,
                "image_std": HALVES,
                "image_processor_type": "Gemma3ImageProcessor",
                "image_seq_length": soft,
                "processor_class": "Gemma3Processor",
                "resample": 2,
                "size": {"height": side, "width": side},
            },
        }
    name = "Gemma4Unified" if kind == "Gemma 4 12B" else "Gemma4"
    image = scaled | {
        "do_normalize": False,
        "image_mean": [0.0, 0.0, 0.0],
        "image_std": [1.0, 1.0, 1.0],
        "image_processor_type": f"{name}ImageProcessor",
        "image_seq_length": 280,
        "max_soft_tokens": 280,
        "patch_size": vision["patch_size"],
        "pooling_kernel_size": vision["pooling_kernel_size"],
        "resample": 3,
    }
    whole = {"image_processor": image, "image_seq_length": 280, "processor_class": f"{name}Processor"}
    if encoder is not None:
        spec = encoder.spec
        lasts = spec.samples * 1000 // 16_000 if isinstance(spec, WaveformSpec) else 40
        whole |= {"audio_seq_length": 750, "audio_ms_per_token": lasts}
        whole["feature_extractor"] = _extractor(encoder.spec, name)
    return {"processor_config.json": whole}


def _extractor(spec: AudioSpec, name: str) -> dict[str, Any]:
    common = {
        "feature_extractor_type": f"{name}AudioFeatureExtractor",
        "padding_side": "right",
        "padding_value": 0.0,
        "return_attention_mask": True,
        "sampling_rate": 16_000,
    }
    if isinstance(spec, WaveformSpec):
        return common | {"feature_size": spec.samples, "audio_samples_per_token": spec.samples}
    return common | {
        "dither": 0.0,
        "feature_size": spec.bands,
        "fft_overdrive": False,
        "frame_length_ms": 20.0,
        "hop_length_ms": 10.0,
        "input_scale_factor": 1.0,
        "max_frequency": 8000.0,
        "mel_floor": 0.001,
        "min_frequency": 0.0,
        "per_bin_mean": None,
        "per_bin_stddev": None,
        "preemphasis": 0.0,
        "preemphasis_htk_flavor": True,
    }


def _text_name(canonical: str, kind: str) -> str:
    if kind == "Gemma 3":
        return f"language_model.{canonical}"
    return f"model.language_model.{canonical.removeprefix('model.')}"


def _write_tokenizer(directory: Path, kind: str, hears: bool) -> None:
    tokens = GEMMA3_TOKENS if kind == "Gemma 3" else GEMMA4_TOKENS
    write_tiny_tokenizer(directory)
    name_unused(directory, tokens | SOUND_TOKENS if hears else tokens)
    path = directory / "tokenizer_config.json"
    settings = json.loads(path.read_bytes())
    settings |= {"image_token": tokens[SOFT], "boi_token": tokens[BEGIN], "eoi_token": tokens[END]}
    if hears:
        names = {"audio_token": SOUND_SOFT, "boa_token": SOUND_BEGIN, "eoa_token": SOUND_END}
        settings |= {key: SOUND_TOKENS[token] for key, token in names.items()}
    _write_json(path, settings)
    placeholder = tokens[BEGIN] if kind == "Gemma 3" else tokens[SOFT]
    template = TEMPLATE.replace("PLACEHOLDER", placeholder)
    (directory / "chat_template.jinja").write_text(template, encoding="utf-8")


def _write_json(path: Path, value: Any) -> None:
    path.write_text(json.dumps(value, indent=1), encoding="utf-8")
