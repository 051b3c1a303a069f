"""Reading config.json: published sizes count right, and nothing is guessed."""

from __future__ import annotations

from typing import Any

import pytest

from exporter.errors import SpecError
from exporter.models.families import read_spec
from tests.tiny import TINY_CONFIGS, tiny_gemma2, tiny_gemma3, tiny_gemma4_12b, tiny_gemma4_e2b


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


@pytest.mark.parametrize("model_type", ["llama", "gemma3n_text", None, 3])
def test_an_unknown_model_type_is_refused_with_what_is_supported(model_type: object) -> None:
    with pytest.raises(SpecError, match=r"is not supported; supported are gemma, gemma2, gemma3_text"):
        read_spec({**tiny_gemma3(), "model_type": model_type}, "config.json")


def test_the_retracted_query_scalar_of_gemma_2_9b_is_refused() -> None:
    with pytest.raises(SpecError, match="corrected to 256"):
        read_spec({**tiny_gemma2(), "query_pre_attn_scalar": 224, "head_dim": 256}, "config.json")


def test_the_mixture_of_experts_is_refused_by_name() -> None:
    with pytest.raises(SpecError, match="26B-A4B"):
        read_spec({**tiny_gemma4_e2b(), "enable_moe_block": True}, "config.json")


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
