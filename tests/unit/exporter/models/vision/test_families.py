"""vision_config read strictly: published numbers, what transformers fills in, and what is refused."""

from __future__ import annotations

from typing import Any

import pytest

from exporter.errors import SpecError
from exporter.models.vision.defaults import GEMMA3_DEFAULTS, GEMMA4_DEFAULTS, THETA, VISION_DEFAULTS
from exporter.models.vision.families import has_vision, read_vision
from exporter.models.vision.spec import (
    ImageTokens,
    PatchEmbedderSpec,
    PatchTowerSpec,
    SiglipSpec,
    VisionSpec,
)
from tests.tiny_image_stores import KINDS, TEXT_CONFIGS, whole_config
from tests.tiny_towers import TINY_TOWERS

SIGLIP = {
    "hidden_size": 1152,
    "image_size": 896,
    "intermediate_size": 4304,
    "model_type": "siglip_vision_model",
    "num_attention_heads": 16,
    "num_hidden_layers": 27,
    "patch_size": 14,
    "vision_use_head": False,
}
PATCHES = {
    "attention_bias": False,
    "attention_dropout": 0.0,
    "default_output_length": 280,
    "dtype": "bfloat16",
    "global_head_dim": 72,
    "head_dim": 72,
    "hidden_activation": "gelu_pytorch_tanh",
    "hidden_size": 1152,
    "intermediate_size": 4304,
    "max_position_embeddings": 131072,
    "model_type": "gemma4_vision",
    "num_attention_heads": 16,
    "num_hidden_layers": 27,
    "num_key_value_heads": 16,
    "patch_size": 16,
    "pooling_kernel_size": 3,
    "position_embedding_size": 10240,
    "rms_norm_eps": 1e-6,
    "rope_parameters": {"rope_theta": 100.0, "rope_type": "default"},
    "standardize": True,
    "use_clipped_linears": False,
}
EMBEDDER = {
    "mm_embed_dim": 3840,
    "mm_posemb_size": 1120,
    "model_patch_size": 48,
    "model_type": "gemma4_unified_vision",
    "num_soft_tokens": 280,
    "output_proj_dims": 3840,
    "patch_size": 16,
    "pooling_kernel_size": 3,
    "rms_norm_eps": 1e-6,
}


def read(model_type: str, vision: dict[str, Any], text: dict[str, Any], **whole: Any) -> VisionSpec:
    raw = {"model_type": model_type, "vision_config": vision, **whole}
    return read_vision(raw, text, "config.json").spec


def refused(kind: str, where: str, what: str, **changed: Any) -> None:
    """changed: top-level keys, or keys of vision_config where they begin with v_."""
    raw = whole_config(kind, TINY_TOWERS[kind]())
    vision = {key[2:]: value for key, value in changed.items() if key.startswith("v_")}
    raw["vision_config"] = {**raw["vision_config"], **vision}
    raw |= {key: value for key, value in changed.items() if not key.startswith("v_")}
    with pytest.raises(SpecError, match=what) as caught:
        read_vision(raw, TEXT_CONFIGS[kind](), "config.json")
    assert caught.value.where == f"config.json.{where}" if where else "config.json"
    assert caught.value.then


def test_published_gemma_3_has_a_siglip_of_256_soft_tokens() -> None:
    spec = read("gemma3", SIGLIP, {"hidden_size": 2560, "vocab_size": 262208}, mm_tokens_per_image=256)
    assert spec == SiglipSpec(
        hidden_size=1152,
        intermediate_size=4304,
        layers=27,
        heads=16,
        image_size=896,
        patch_size=14,
        norm_eps=1e-6,
        projector_eps=1e-6,
        soft_tokens=256,
        text_hidden_size=2560,
        tokens=ImageTokens(262144, 255999, 256000, line_breaks=True, blocks="all"),
    )
    assert round(spec.parameter_count() / 1e6) == 420


@pytest.mark.parametrize(("bidirectional", "blocks"), [("vision", "sliding"), (None, "none")])
def test_published_gemma_4_has_a_tower_over_patches(bidirectional: str | None, blocks: str) -> None:
    text = {"hidden_size": 5376, "vocab_size": 262144, "use_bidirectional_attention": bidirectional}
    spec = read("gemma4", PATCHES, text)
    assert isinstance(spec, PatchTowerSpec)
    assert (spec.layers, spec.heads, spec.head_dim, spec.theta) == (27, 16, 72, 100.0)
    assert spec.positions == 3 * 1120, "no picture has more patches in a row"
    assert (spec.standardize, spec.clipped) == (True, False)
    assert spec.tokens == ImageTokens(258880, 255999, 258882, line_breaks=False, blocks=blocks)  # type: ignore[arg-type]  # of two


def test_published_gemma_4_12b_has_an_embedder_alone() -> None:
    text = {"hidden_size": 3840, "vocab_size": 262144, "use_bidirectional_attention": "vision"}
    spec = read("gemma4_unified", EMBEDDER, text)
    assert isinstance(spec, PatchEmbedderSpec)
    assert (spec.width, spec.patch_width, spec.positions) == (3840, 6912, 1120)
    assert spec.tokens.blocks == "sliding"


@pytest.mark.parametrize("kind", KINDS)
def test_a_tiny_config_gives_the_tiny_tower(kind: str) -> None:
    tower = TINY_TOWERS[kind]()
    found = read_vision(whole_config(kind, tower), TEXT_CONFIGS[kind](), "config.json")
    assert found.spec == tower.spec


def test_what_config_json_leaves_out_is_transformers_and_is_said() -> None:
    text = {"hidden_size": 1536, "vocab_size": 262144}
    raw = {"model_type": "gemma4", "vision_config": {"model_type": "gemma4_vision"}}
    found = read_vision(raw, text, "config.json")
    assert isinstance(found.spec, PatchTowerSpec)
    assert (found.spec.layers, found.spec.hidden_size, found.spec.tokens.soft) == (16, 768, 258880)
    (remark,) = found.remarks
    assert "vision_config.num_hidden_layers (16)" in remark
    assert "image_token_id (258880)" in remark


def test_every_default_is_that_of_transformers_class() -> None:
    from transformers import AutoConfig

    for model_type, defaults in VISION_DEFAULTS.items():
        theirs = AutoConfig.for_model(model_type)
        assert {key: getattr(theirs, key) for key in defaults} == dict(defaults), model_type
    assert AutoConfig.for_model("gemma4_vision").rope_parameters["rope_theta"] == THETA
    for model_type, whole in (
        ("gemma3", GEMMA3_DEFAULTS),
        ("gemma4", GEMMA4_DEFAULTS),
        ("gemma4_unified", GEMMA4_DEFAULTS),
    ):
        theirs = AutoConfig.for_model(model_type)
        assert {key: getattr(theirs, key) for key in whole} == dict(whole), model_type


def test_a_text_model_has_null_where_a_tower_would_be() -> None:
    assert not has_vision({"vision_config": None})
    assert not has_vision({})


def test_a_tower_of_an_unknown_kind_is_refused_with_the_way_round_it() -> None:
    raw = {"model_type": "gemma3", "vision_config": {"model_type": "dinov9"}}
    with pytest.raises(SpecError, match=r"'dinov9' is an image tower .* gemma3 has siglip") as caught:
        read_vision(raw, {"hidden_size": 64, "vocab_size": 512}, "config.json")
    assert "--components text" in caught.value.then


def test_numbers_that_cannot_go_together_are_refused() -> None:
    refused("Gemma 3", "mm_tokens_per_image", "5 are no square", mm_tokens_per_image=5)
    refused("Gemma 3", "vision_config.image_size", "113 does not split", v_image_size=113)
    refused("Gemma 3", "vision_config.hidden_size", "63 does not split", v_hidden_size=63)
    refused("Gemma 4 E2B", "vision_config.head_dim", "18 has no two halves", v_head_dim=18)
    refused("Gemma 4 E2B", "vision_config.num_key_value_heads", "expected 4", v_num_key_value_heads=2)
    refused("Gemma 4 12B", "vision_config.model_patch_size", "expected 48", v_model_patch_size=16)
    refused("Gemma 4 12B", "vision_config.output_proj_dims", "expected 96", v_output_proj_dims=64)
    refused("Gemma 4 31B", "vision_config.num_hidden_layers", "beyond 1000", v_num_hidden_layers=10**9)


def test_a_key_that_may_change_the_tower_is_refused() -> None:
    refused("Gemma 4 31B", "vision_config", "unknown key 'window'", v_window=8)
    refused("Gemma 3", "vision_config.hidden_act", "expected 'gelu", v_hidden_act="relu")
    ropes = {"rope_type": "yarn", "rope_theta": 100.0}
    refused("Gemma 4 E2B", "vision_config.rope_parameters.rope_type", "yarn", v_rope_parameters=ropes)


def test_ids_are_three_of_the_vocabulary_and_said_once() -> None:
    refused("Gemma 4 E2B", "image_token_id", "258880 is outside 512", image_token_id=258880)
    refused("Gemma 4 E2B", "image_token_id", "three ids that differ", boi_token_id=500)
    refused("Gemma 3", "image_token_index", "expected 499", image_token_id=499)
