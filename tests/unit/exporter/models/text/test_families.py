"""Reading config.json: published sizes count right, and nothing is guessed."""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import Any

import pytest

from exporter.errors import SpecError
from exporter.models.text.families import read_spec
from tests.tiny import (
    FULL,
    SLIDING,
    TINY_CONFIGS,
    tiny_gemma2,
    tiny_gemma3,
    tiny_gemma4_12b,
    tiny_gemma4_e2b,
)


def test_the_published_layout_of_gemma_3_reads_like_the_spelled_out_one() -> None:
    spelled_out = tiny_gemma3()
    published = {**spelled_out, "sliding_window_pattern": 3, "rope_theta": 1e6, "rope_local_base_freq": 1e4}
    published["rope_scaling"] = {"rope_type": "linear", "factor": 8.0}
    del published["layer_types"], published["rope_parameters"]
    assert read_spec(published, "a") == read_spec(spelled_out, "b")


def test_the_published_layout_of_gemma_4_reads_like_the_saved_one() -> None:
    published = tiny_gemma4_12b()
    saved = {key: value for key, value in published.items() if "global" not in key}
    saved["per_layer_config"] = {str(i): {"head_dim": 64, "num_key_value_heads": 1} for i in (2, 6)}
    assert read_spec(published, "a") == read_spec(saved, "b")


def test_layer_numbers_that_transformers_padded_are_read() -> None:
    published = tiny_gemma4_e2b()
    saved = {key: value for key, value in published.items() if "global" not in key}
    saved["per_layer_config"] = {f"{i:02}": {"head_dim": 64} for i in (4, 9, 14)}
    assert read_spec(saved, "b") == read_spec(published, "a")


@pytest.mark.parametrize("key", ["15", "004", "x"])
def test_a_layer_number_that_is_none_of_the_model_is_refused(key: str) -> None:
    saved = {name: value for name, value in tiny_gemma4_e2b().items() if "global" not in name}
    saved["per_layer_config"] = {"04": {"head_dim": 64}, key: {"head_dim": 64}}
    with pytest.raises(SpecError, match=f"unknown key '{key}'"):
        read_spec(saved, "config.json")


def test_the_keys_that_12b_is_published_with_say_that_it_has_no_per_layer_embedding() -> None:
    published = {
        **tiny_gemma4_12b(),
        "enable_moe_block": False,
        "hidden_size_per_layer_input": 0,
        "vocab_size_per_layer_input": 262144,
        "moe_intermediate_size": None,
        "num_experts": None,
        "top_k_experts": None,
    }
    assert read_spec(published, "a") == read_spec(tiny_gemma4_12b(), "b")
    with pytest.raises(SpecError, match="expected 0 or None, got 32"):
        read_spec({**published, "hidden_size_per_layer_input": 32}, "config.json")


@pytest.mark.parametrize("family", TINY_CONFIGS)
def test_a_missing_number_is_an_error_that_names_it(family: str) -> None:
    config = TINY_CONFIGS[family]()
    for key in ("hidden_size", "num_attention_heads", "rms_norm_eps", "head_dim", "vocab_size"):
        broken = {name: value for name, value in config.items() if name != key}
        with pytest.raises(SpecError, match=f"key '{key}' is missing"):
            read_spec(broken, "config.json")


@pytest.mark.parametrize("family", TINY_CONFIGS)
def test_an_unknown_key_is_refused_by_name(family: str) -> None:
    with pytest.raises(SpecError, match="unknown key 'altup_coef_clip'"):
        read_spec({**TINY_CONFIGS[family](), "altup_coef_clip": 120.0}, "config.json")


def test_an_unknown_key_is_named_with_its_line_and_the_way_out(tmp_path: Path) -> None:
    config = {**tiny_gemma3(), "altup_coef_clip": 120.0}
    path = tmp_path / "config.json"
    path.write_text(json.dumps(config, indent=1), encoding="utf-8")
    line = next(i for i, text in enumerate(path.read_text().splitlines(), 1) if "altup" in text)
    with pytest.raises(SpecError, match=f"unknown key 'altup_coef_clip' in line {line}; .*delete it there"):
        read_spec(config, str(path), path)


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("unsloth_fixed", True),
        ("unsloth_version", "2025.8.9"),
        ("unsloth_of_next_year", {}),
        ("transformers.js_config", {"dtype": "q4"}),
        ("auto_map", {"AutoConfig": "x.Y"}),
        ("pretraining_tp", 1),
        ("is_decoder", False),
        ("is_decoder", True),
        ("is_encoder_decoder", False),
        ("pruned_heads", {}),
        ("torchscript", False),
        ("max_length", 20),
        ("temperature", 0.7),
        ("task_specific_params", None),
        ("_flash_attn_2_enabled", True),
        ("_pre_quantization_dtype", "bfloat16"),
        ("loss_type", "ForCausalLM"),
        ("neftune_noise_alpha", 5.0),
        ("tokenizer_padding_side", "right"),
    ],
)
def test_a_key_that_changes_nothing_is_known(key: str, value: object) -> None:
    assert read_spec({**tiny_gemma3(), key: value}, "a") == read_spec(tiny_gemma3(), "b")


@pytest.mark.parametrize("shared", [7, 15, 16, 1000])
def test_layers_that_share_the_cache_of_none_are_refused(shared: int) -> None:
    with pytest.raises(SpecError, match=r"shares the cache of a .* layer, and none owns one|expected"):
        read_spec({**tiny_gemma4_12b(), "num_kv_shared_layers": shared}, "config.json")


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("is_encoder_decoder", True),
        ("add_cross_attention", True),
        ("pruned_heads", {"0": [1]}),
        ("is_causal", False),
        ("use_bidirectional_attention", True),
    ],
)
def test_the_same_keys_are_refused_where_they_would_change_something(key: str, value: object) -> None:
    with pytest.raises(SpecError) as caught:
        read_spec({**tiny_gemma3(), key: value}, "config.json")
    assert caught.value.where == f"config.json.{key}"


@pytest.mark.parametrize("family", ["Gemma 1", "Gemma 2", "Gemma 3"])
def test_rope_scaling_reads_like_rope_parameters_in_either_spelling(family: str) -> None:
    spelled_out = TINY_CONFIGS[family]()
    old = {key: value for key, value in spelled_out.items() if key != "rope_parameters"}
    linear: dict[str, Any] = {"rope_type": "linear", "factor": 8.0, "rope_theta": 1e6}
    local = {"rope_type": "default", "rope_theta": 1e4}
    spelled_out["rope_parameters"] = {FULL: linear, SLIDING: local} if family == "Gemma 3" else linear
    old |= {"rope_theta": 1e6, "rope_local_base_freq": 1e4} if family == "Gemma 3" else {"rope_theta": 1e6}
    for scaling in (
        {"type": "linear", "factor": 8.0},
        {"rope_type": "linear", "factor": 8.0},
        {"rope_type": "linear", "type": "linear", "factor": 8.0},
    ):
        assert read_spec({**old, "rope_scaling": scaling}, "a") == read_spec(spelled_out, "b")


@pytest.mark.parametrize(
    ("scaling", "complaint"),
    [
        ({"type": "yarn", "factor": 8.0}, "expected 'default' or 'linear', got 'yarn'"),
        ({"rope_type": "linear", "type": "dynamic", "factor": 8.0}, "got 'dynamic'"),
        ({"type": "linear", "factor": 4.0}, "has factor 4.0, rope_parameters has 8.0"),
    ],
)
def test_a_rope_scaling_that_is_another_model_s_is_refused(scaling: object, complaint: str) -> None:
    with pytest.raises(SpecError, match=complaint):
        read_spec({**tiny_gemma3(), "rope_scaling": scaling}, "config.json")


@pytest.mark.parametrize(
    ("key", "value", "where"),
    [
        ("num_hidden_layers", 10**9, "num_hidden_layers"),
        ("num_hidden_layers", 1e300, "num_hidden_layers"),
        ("num_hidden_layers", 0, "num_hidden_layers"),
        ("num_attention_heads", 5, "num_attention_heads"),
        ("num_key_value_heads", 3, "num_attention_heads"),
        ("head_dim", 33, "head_dim"),
        ("hidden_size", 66, "hidden_size"),
        ("hidden_size", 10**12, "hidden_size"),
        ("intermediate_size", 10**12, "intermediate_size"),
        ("vocab_size", 0, "vocab_size"),
        pytest.param("vocab_size", 10**5000, "vocab_size", id="5000 digits"),
        ("sliding_window", 0, "sliding_window"),
        ("sliding_window", -1, "sliding_window"),
        ("max_position_embeddings", 10**12, "max_position_embeddings"),
        ("query_pre_attn_scalar", float("nan"), "query_pre_attn_scalar"),
        ("query_pre_attn_scalar", float("inf"), "query_pre_attn_scalar"),
        ("query_pre_attn_scalar", 10**400, "query_pre_attn_scalar"),
    ],
)
def test_an_impossible_number_is_refused_at_once(key: str, value: Any, where: str) -> None:
    config = {**tiny_gemma3(), key: value, "sliding_window_pattern": 3}
    del config["layer_types"]
    begun = time.monotonic()
    with pytest.raises(SpecError) as caught:
        read_spec(config, "config.json")
    assert time.monotonic() - begun < 1.0
    assert caught.value.where == f"config.json.{where}"
    assert len(str(caught.value)) < 500


def test_numbers_whose_product_no_file_holds_are_refused() -> None:
    config = {**tiny_gemma3(), "hidden_size": 1 << 17, "intermediate_size": 1 << 20}
    with pytest.raises(SpecError, match=r"its numbers make .* parameters; the largest Gemma has"):
        read_spec({**config, "vocab_size": 1 << 24}, "config.json")


def test_a_long_value_is_not_echoed_whole() -> None:
    with pytest.raises(SpecError) as caught:
        read_spec({**tiny_gemma3(), "hidden_activation": "x" * 100_000}, "config.json")
    assert len(str(caught.value)) < 500


@pytest.mark.parametrize(
    ("key", "value", "complaint"),
    [
        ("hidden_size", 0, "expected a positive integer, got 0"),
        ("hidden_size", "64", "expected a positive integer, got '64'"),
        ("rms_norm_eps", None, "expected a positive number, got None"),
        ("hidden_activation", "relu", "expected 'gelu_pytorch_tanh', got 'relu'"),
        ("attention_bias", True, "expected False, got True"),
        ("layer_types", ["sliding_attention"], "expected 7 entries"),
    ],
)
def test_a_wrong_value_says_what_was_expected(key: str, value: Any, complaint: str) -> None:
    with pytest.raises(SpecError, match=complaint):
        read_spec({**tiny_gemma3(), key: value}, "config.json")


@pytest.mark.parametrize("model_type", ["llama", "gemma5", None, 3])
def test_an_unknown_model_type_is_refused_with_what_is_supported(model_type: object) -> None:
    with pytest.raises(SpecError, match=r"is not supported; supported are gemma, gemma2, gemma3_text"):
        read_spec({**tiny_gemma3(), "model_type": model_type}, "config.json")


def test_the_retracted_query_scalar_of_gemma_2_9b_is_refused() -> None:
    with pytest.raises(SpecError, match="corrected to 256"):
        read_spec({**tiny_gemma2(), "query_pre_attn_scalar": 224, "head_dim": 256}, "config.json")


@pytest.mark.parametrize("config", [tiny_gemma4_e2b(), tiny_gemma4_12b()], ids=["gemma4", "unified"])
def test_the_mixture_of_experts_is_refused_by_name(config: dict[str, Any]) -> None:
    with pytest.raises(SpecError, match="26B-A4B"):
        read_spec({**config, "enable_moe_block": True}, "config.json")


@pytest.mark.parametrize(
    ("model_type", "title"),
    [
        ("gemma3n", "Gemma 3n"),
        ("gemma3n_text", "Gemma 3n"),
        ("gemma4_assistant", "a Gemma 4 drafter"),
        ("gemma4_unified_assistant", "a Gemma 4 drafter"),
        ("paligemma", "PaliGemma"),
        ("shieldgemma2", "ShieldGemma 2"),
        ("embedding_gemma2", "EmbeddingGemma"),
        ("diffusion_gemma", "DiffusionGemma"),
        ("recurrent_gemma", "RecurrentGemma"),
        ("t5gemma", "T5Gemma"),
        ("t5gemma2", "T5Gemma"),
    ],
)
def test_a_gemma_that_is_not_exported_is_refused_by_its_title(model_type: str, title: str) -> None:
    with pytest.raises(SpecError, match=f"is {title}.*, which is not supported: .*Gemma 1, 2, 3") as caught:
        read_spec({"model_type": model_type}, "config.json")
    assert caught.value.where == "config.json.model_type"


@pytest.mark.parametrize(
    ("architecture", "title"),
    [
        ("Gemma3nForCausalLM", "Gemma 3n"),
        ("T5GemmaForConditionalGeneration", "T5Gemma"),
        ("ShieldGemma2ForImageClassification", "ShieldGemma 2"),
        ("PaliGemmaForConditionalGeneration", "PaliGemma"),
        ("RecurrentGemmaForCausalLM", "RecurrentGemma"),
        ("Gemma3TextForSequenceClassification", "a classifier"),
        ("Gemma2ForTokenClassification", "a classifier"),
    ],
)
def test_a_class_that_is_not_exported_is_refused_whatever_the_model_type(
    architecture: str, title: str
) -> None:
    with pytest.raises(SpecError, match=f"{architecture}' is {title}, which is not supported") as caught:
        read_spec({**tiny_gemma3(), "architectures": [architecture]}, "config.json")
    assert caught.value.where == "config.json.architectures"


def test_an_encoder_made_of_gemma_3_is_refused_by_name() -> None:
    with pytest.raises(SpecError, match="this is EmbeddingGemma"):
        read_spec({**tiny_gemma3(), "use_bidirectional_attention": True}, "config.json")


@pytest.mark.parametrize("family", TINY_CONFIGS)
def test_the_weights_of_a_spec_are_those_of_transformers(family: str) -> None:
    import torch
    from transformers import AutoConfig, AutoModelForCausalLM

    config = TINY_CONFIGS[family]()
    settings = {key: value for key, value in config.items() if key != "model_type"}
    with torch.device("meta"):
        model = AutoModelForCausalLM.from_config(AutoConfig.for_model(config["model_type"], **settings))
    theirs = {name: tuple(value.shape) for name, value in model.state_dict().items()}
    del theirs["lm_head.weight"]  # tied
    assert {weight.name: weight.shape for weight in read_spec(config, "c").weights()} == theirs
