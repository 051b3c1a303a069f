"""Checkpoints with towers: what of config.json and tensors is the text model's, and what is left out."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file

from exporter.checkpoints.huggingface.source import HuggingFaceSource
from exporter.checkpoints.multimodal import MULTIMODAL, read_text_config
from exporter.checkpoints.text_tensors import describe_left_out
from exporter.errors import CheckpointError, ExportError, SpecError
from exporter.models.components import TEXT_ALONE
from exporter.models.published import published_spec
from exporter.models.text.families import read_spec
from tests.tiny import tiny_gemma3, tiny_gemma4_12b, tiny_gemma4_e2b
from tests.unit.exporter.checkpoints.multimodal_checkpoints import (
    LAYOUTS,
    TEXT_CONFIGS,
    TOWERS,
    Layout,
    multimodal_config,
    write_json,
    write_multimodal,
)
from tests.unit.exporter.checkpoints.published_configs import PUBLISHED


def refused(path: Path, kind: type[ExportError], what: str, where: str = "") -> None:
    with pytest.raises(kind, match=what) as caught:
        HuggingFaceSource.open(path)
    assert (where or str(path)) in caught.value.where
    assert caught.value.then


def edit_config(directory: Path, **changed: Any) -> None:
    path = directory / "config.json"
    write_json(path, json.loads(path.read_text(encoding="utf-8")) | changed)


@pytest.fixture(params=TEXT_CONFIGS)
def family(request: pytest.FixtureRequest) -> str:
    name: str = request.param
    return name


@pytest.mark.parametrize("model", PUBLISHED)
def test_a_published_config_with_towers_has_the_published_numbers(model: str) -> None:
    name, text = PUBLISHED[model]
    read = read_text_config(multimodal_config(name, text), "config.json")
    assert read.where == "config.json.text_config"
    assert read_spec(read.config, read.where) == published_spec(model)


def test_the_text_config_is_what_transformers_class_makes_of_it(family: str) -> None:
    from transformers import AutoConfig

    text = TEXT_CONFIGS[family]()
    found = dict(read_text_config(multimodal_config(family, text), "config.json").config)
    assert found["architectures"] == text["architectures"]
    assert read_spec(found, "a") == read_spec(text, "b")
    theirs = AutoConfig.for_model(**text)
    again = AutoConfig.for_model(**found)
    assert again.to_dict() == theirs.to_dict()


def test_a_config_of_text_alone_is_handed_on_untouched() -> None:
    raw = tiny_gemma3()
    read = read_text_config(raw, "config.json")
    assert read.config == raw
    assert (read.where, read.family) == ("config.json", None)


@pytest.mark.parametrize("layout", LAYOUTS)
def test_nothing_is_left_out_of_text_images_and_sounds(tmp_path: Path, family: str, layout: Layout) -> None:
    write_multimodal(tmp_path, family, layout)
    assert HuggingFaceSource.open(tmp_path).left_out == ()


def test_towers_are_left_out_and_counted_where_text_is_wanted(tmp_path: Path, family: str) -> None:
    write_multimodal(tmp_path, family, "inner")
    both, text = HuggingFaceSource.open(tmp_path), HuggingFaceSource.open(tmp_path, TEXT_ALONE)
    named = [each.split(",")[0] for each in text.left_out]
    assert named == list(TOWERS[family])
    assert set(text.components) == {"text"}
    assert text.tensors == {name: both.tensors[name] for name in text.tensors}


def test_a_checkpoint_of_text_alone_leaves_nothing_out(tmp_path: Path) -> None:
    from tests.checkpoints import write_huggingface

    assert HuggingFaceSource.open(write_huggingface(tmp_path)).left_out == ()


@pytest.mark.parametrize(
    ("parameters", "phrase"),
    [
        (416_866_032, "vision tower, 417 M parameters"),
        (2_954_112, "vision tower, 3.0 M parameters"),
        (9_400, "vision tower, 9,400 parameters"),
    ],
)
def test_parameters_are_counted_in_millions_from_a_million_up(parameters: int, phrase: str) -> None:
    assert describe_left_out({"vision tower": ("a",)}, {"a": (1, parameters)}) == (phrase,)


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("name", ["model.layers.0.input_layernorm.weight", "norm.weight"])
def test_a_weight_under_two_names_is_refused_by_both(tmp_path: Path, layout: Layout, name: str) -> None:
    write_multimodal(tmp_path, "gemma3", layout, {name: torch.ones(2)})
    refused(tmp_path, CheckpointError, f"tensors .*{name}.* are the same weight")


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("name", ["video_tower.x.weight", "layer.0.input_layernorm.weight"])
def test_a_tensor_of_nobody_is_refused_by_name(tmp_path: Path, layout: Layout, name: str) -> None:
    write_multimodal(tmp_path, "gemma3", layout, {name: torch.ones(2)})
    refused(tmp_path, CheckpointError, f"tensor {name} is neither the text model's nor of a tower")


def test_an_audio_tower_is_not_expected_in_gemma_3(tmp_path: Path) -> None:
    write_multimodal(tmp_path, "gemma3", "inner", {"model.audio_tower.x.weight": torch.ones(2)})
    refused(tmp_path, CheckpointError, r"tensor model\.audio_tower\.x\.weight is neither")


def test_a_tensor_too_many_in_the_text_model_is_refused(tmp_path: Path) -> None:
    write_multimodal(tmp_path, "gemma3", "outer", {"language_model.model.layers.9.x.weight": torch.ones(2)})
    refused(tmp_path, CheckpointError, r"tensor model\.layers\.9\.x\.weight is not part of a gemma3_text")


def test_the_same_weight_under_two_names_is_refused(tmp_path: Path) -> None:
    write_multimodal(tmp_path, "gemma3", "outer", {"model.language_model.norm.weight": torch.ones(64)})
    refused(tmp_path, CheckpointError, r"norm\.weight and .*norm\.weight are the same weight")


def test_a_weight_missing_from_the_text_model_is_refused(tmp_path: Path) -> None:
    write_multimodal(tmp_path, "gemma3", "outer")
    edit_config(tmp_path, text_config=tiny_gemma3() | {"num_hidden_layers": 8, "layer_types": None})
    refused(tmp_path, CheckpointError, r"tensors model\.layers\.7\..* are missing")


@pytest.mark.parametrize("layout", LAYOUTS)
def test_a_copy_of_the_tied_head_is_accepted_and_another_head_is_not(
    tmp_path: Path, layout: Layout
) -> None:
    head = {"outer": "language_model.lm_head.weight", "inner": "lm_head.weight"}[layout]
    embedding = torch.from_numpy(
        write_multimodal(tmp_path, "gemma3", layout).weights["model.embed_tokens.weight"]
    )
    write_multimodal(tmp_path, "gemma3", layout, {head: embedding.bfloat16()})
    assert "lm_head.weight" not in HuggingFaceSource.open(tmp_path).tensors
    write_multimodal(tmp_path, "gemma3", layout, {head: embedding.bfloat16() + 1})
    refused(tmp_path, CheckpointError, "lm_head.weight differs", "model.safetensors")
    edit_config(tmp_path, tie_word_embeddings=False)
    assert HuggingFaceSource.open(tmp_path).tensors["lm_head.weight"].shape == (512, 64)


def test_unused_projections_of_sharing_layers_are_left_out(tmp_path: Path) -> None:
    """As Gemma 4 E2B is published."""
    shared = "model.language_model.layers.14.self_attn"
    unused = {
        f"{shared}.k_proj.weight": torch.ones(64, 64),
        f"{shared}.v_proj.weight": torch.ones(64, 64),
        f"{shared}.k_norm.weight": torch.ones(64),
    }
    write_multimodal(tmp_path, "gemma4", "inner", unused)
    found = HuggingFaceSource.open(tmp_path)
    (part,) = found.left_out
    assert part == "unused key and value projections of layers that share a cache, 8,256 parameters"
    assert "model.layers.14.self_attn.k_proj.weight" not in found.tensors
    owning = {"model.language_model.layers.0.self_attn.v_norm.weight": torch.ones(32)}
    write_multimodal(tmp_path, "gemma4", "inner", owning)
    refused(tmp_path, CheckpointError, r"tensor model\.layers\.0\.self_attn\.v_norm\.weight is not part of")


def test_unused_projections_are_left_out_of_a_text_model_alone_too(tmp_path: Path) -> None:
    from tests.checkpoints import write_huggingface

    weights = write_huggingface(tmp_path, tiny_gemma4_e2b()) / "model.safetensors"
    unused = {"model.layers.13.self_attn.v_proj.weight": torch.ones(32, 64)}
    save_file(load_file(weights) | unused, weights)
    (part,) = HuggingFaceSource.open(tmp_path).left_out
    assert part == "unused key and value projections of layers that share a cache, 2,048 parameters"


def test_ids_of_the_whole_model_come_before_those_of_its_text_config(tmp_path: Path) -> None:
    write_multimodal(tmp_path, "gemma3", "outer")
    (tmp_path / "generation_config.json").unlink()
    edit_config(tmp_path, eos_token_id=[1, 5])
    tokens = HuggingFaceSource.open(tmp_path).tokens
    assert (tokens.bos_token, tokens.eos_token, tokens.pad_token) == (2, 1, 0)
    assert tokens.stop_tokens == (1, 5)


def test_an_unknown_key_is_refused_outside_and_inside_the_text_config(tmp_path: Path, family: str) -> None:
    write_multimodal(tmp_path, family, "inner")
    edit_config(tmp_path, altup_coef_clip=120.0)
    refused(tmp_path, SpecError, "unknown key 'altup_coef_clip'", "config.json")
    text = TEXT_CONFIGS[family]() | {"altup_coef_clip": 120.0}
    write_json(tmp_path / "config.json", multimodal_config(family, text))
    refused(tmp_path, SpecError, "unknown key 'altup_coef_clip'", "config.json.text_config")


@pytest.mark.parametrize(
    ("changed", "what", "where"),
    [
        ({"text_config": None}, "expected an object, got None", "config.json.text_config"),
        ({"text_config": {"hidden_size": "64"}}, "transformers cannot read it", "config.json.text_config"),
        (
            {"text_config": tiny_gemma4_e2b()},
            "expected 'gemma3_text', got 'gemma4_text'",
            "text_config.model_type",
        ),
        ({"tie_word_embeddings": "yes"}, "expected true or false", "config.json.tie_word_embeddings"),
    ],
)
def test_a_text_config_that_is_none_is_refused(
    tmp_path: Path, changed: dict[str, Any], what: str, where: str
) -> None:
    write_multimodal(tmp_path, "gemma3", "outer")
    edit_config(tmp_path, **changed)
    refused(tmp_path, SpecError, what, where)


@pytest.mark.parametrize(
    ("family", "text"),
    [("gemma4", tiny_gemma4_e2b()), ("gemma4_unified", tiny_gemma4_12b())],
    ids=["gemma4", "unified"],
)
def test_a_mixture_of_experts_is_refused_by_name(tmp_path: Path, family: str, text: dict[str, Any]) -> None:
    write_multimodal(tmp_path, family, "inner")
    write_json(tmp_path / "config.json", multimodal_config(family, text | {"enable_moe_block": True}))
    refused(tmp_path, SpecError, "26B-A4B.* is not supported", "text_config.enable_moe_block")


@pytest.mark.parametrize(
    "model_type", ["gemma3n", "gemma4_assistant", "gemma4_unified_assistant", "paligemma"]
)
def test_other_checkpoints_with_towers_are_refused_by_name(tmp_path: Path, model_type: str) -> None:
    write_multimodal(tmp_path, "gemma4", "inner")
    edit_config(tmp_path, model_type=model_type)
    refused(tmp_path, SpecError, r"which is not supported: .*", "config.json.model_type")


def test_every_family_with_towers_names_a_text_model_that_is_read() -> None:
    from exporter.models.text.families import READERS

    assert set(MULTIMODAL) == set(TEXT_CONFIGS)
    assert {family.text_type for family in MULTIMODAL.values()} <= set(READERS)
