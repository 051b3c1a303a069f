"""Random towers are stored under the names and shapes of transformers' own models, and read back."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from benchmarks.random_checkpoint import write_byte_tokenizer
from benchmarks.random_tower import marks_of, stored_shapes, stored_sound_shapes, write_random_tower
from exporter.models.audio.families import has_audio
from exporter.models.published import published_vision, published_whole_config

SEEING = ("gemma-3-4b", "gemma-4-e2b", "gemma-4-12b", "gemma-4-31b")


@pytest.mark.parametrize("model", SEEING)
def test_names_and_shapes_are_those_of_transformers(model: str) -> None:
    from transformers import AutoConfig, AutoModelForImageTextToText

    whole = published_whole_config(model)
    assert whole is not None
    settings = {key: value for key, value in whole.items() if key != "model_type"}
    settings["text_config"] = {**settings["text_config"], "num_hidden_layers": 2, "layer_types": None}
    settings["text_config"]["num_kv_shared_layers"] = 0
    with torch.device("meta"):
        theirs = AutoModelForImageTextToText.from_config(
            AutoConfig.for_model(whole["model_type"], **settings)
        )
    expected = {
        _published(name): tuple(tensor.shape)
        for name, tensor in theirs.state_dict().items()
        if "language_model" not in name and "lm_head" not in name
    }
    found = {name.replace("vision_model.", ""): shape for name, shape in stored_shapes(whole).items()}
    found |= stored_sound_shapes(whole) if has_audio(whole) else {}
    assert found == expected


def _published(name: str) -> str:
    plain = name.removeprefix("model.").replace("vision_model.", "")
    if plain.startswith("embed_vision.multimodal_embedder."):
        return plain.replace("multimodal_embedder.", "")
    if plain.startswith(("embed_vision.patch_", "embed_vision.pos_")):
        return plain.replace("embed_vision.", "vision_embedder.")
    return plain


def test_a_model_of_text_alone_has_no_tower() -> None:
    assert published_whole_config("gemma-3-1b") is None
    assert published_vision("gemma-2-2b") is None
    assert marks_of({"model_type": "gemma3_text"}) == {}


def test_a_written_tower_has_bounds_without_end_and_small_queries(tmp_path: Path) -> None:
    from safetensors.torch import load_file

    whole = published_whole_config("gemma-4-e2b")
    assert whole is not None
    whole["vision_config"] = {**whole["vision_config"], "num_hidden_layers": 1, "intermediate_size": 64}
    write_random_tower(whole, tmp_path, 0)
    stored = load_file(tmp_path / "model-tower.safetensors")
    layer = "vision_tower.encoder.layers.0.self_attn"
    assert stored[f"{layer}.q_proj.input_min"].item() == -np.inf
    assert stored[f"{layer}.q_proj.output_max"].item() == np.inf
    assert 0.2 < stored[f"{layer}.q_norm.weight"].float().mean() < 0.5


def test_the_ids_of_images_are_special_tokens(tmp_path: Path) -> None:
    from tokenizers import Tokenizer

    write_byte_tokenizer(tmp_path, {"<|image|>": 300, "<image|>": 302})
    tokenizer = Tokenizer.from_file(str(tmp_path / "tokenizer.json"))
    assert [tokenizer.id_to_token(i) for i in (300, 301, 302)] == ["<|image|>", "<unused301>", "<image|>"]
    assert tokenizer.encode("a<|image|>", add_special_tokens=False).ids[-1] == 300
