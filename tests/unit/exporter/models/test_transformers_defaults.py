"""The table of transformers' defaults against its classes, and a config.json without them against both."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import fields
from typing import Any

import pytest

from exporter.models.known_keys import NEUTRAL, SAMPLED, changes_nothing
from exporter.models.text.families import READERS, read_spec
from exporter.models.transformers_defaults import DEFAULTS, SAID_BY, fill_in
from tests.tiny import FULL, SLIDING, TINY_CONFIGS, tiny_gemma2, tiny_gemma3

# Keys of the classes that readers take for absent themselves, or that name other keys' numbers.
READ_WITHOUT_DEFAULT = {
    "attention_bias", "attention_k_eq_v", "attn_logit_softcapping", "enable_moe_block", "hidden_act",
    "hidden_activation", "layer_types", "moe_intermediate_size", "num_experts", "num_kv_shared_layers",
    "rope_parameters", "tie_word_embeddings", "top_k_experts", "use_bidirectional_attention",
    "use_double_wide_mlp",
}  # fmt: skip


def class_of(model_type: str) -> Any:
    from transformers import AutoConfig

    return type(AutoConfig.for_model(model_type))


@pytest.mark.parametrize("model_type", READERS)
def test_every_number_of_the_class_is_in_the_table_or_needs_no_default(model_type: str) -> None:
    stated = {field.name: field.default for field in fields(class_of(model_type))}
    table = DEFAULTS[model_type]
    for key in table.keys() & stated.keys() - {"rope_parameters"}:
        assert table[key] == stated[key], key
    missing = {key for key in stated.keys() - table.keys() if not (changes_nothing(key) or key in NEUTRAL)}
    assert missing <= READ_WITHOUT_DEFAULT
    assert table.keys() - stated.keys() <= {*SAID_BY}


@pytest.mark.parametrize("model_type", READERS)
def test_a_config_of_nothing_but_its_type_is_what_the_class_makes_of_it(model_type: str) -> None:
    class_made = class_of(model_type)().to_dict()
    filled = fill_in({"model_type": model_type})
    assert read_spec(filled.config, "a") == read_spec(spoken(class_made), "b")
    assert "rms_norm_eps (1e-06)" in filled.remarks[0]


def spoken(config: Mapping[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in config.items() if key != "use_bidirectional_attention"}


def test_every_generation_key_of_transformers_is_known_to_change_nothing() -> None:
    from transformers import GenerationConfig

    names = GenerationConfig._get_default_generation_params()
    assert {*names} - {"use_cache"} <= SAMPLED


@pytest.mark.parametrize(
    ("family", "absent"),
    [
        ("Gemma 2", ("attn_logit_softcapping", "final_logit_softcapping")),
        ("Gemma 3", ("rms_norm_eps", "pad_token_id", "query_pre_attn_scalar", "final_logit_softcapping")),
        ("Gemma 3", ("layer_types",)),
        ("Gemma 3", ("rope_parameters", "sliding_window")),
        ("Gemma 4 E2B", ("rms_norm_eps", "final_logit_softcapping", "rope_parameters", "global_head_dim")),
        ("VaultGemma", ("layer_types", "query_pre_attn_scalar", "rope_parameters")),
    ],
)
def test_what_is_absent_is_what_transformers_makes_of_it(family: str, absent: tuple[str, ...]) -> None:
    from transformers import AutoConfig

    config = {key: value for key, value in TINY_CONFIGS[family]().items() if key not in absent}
    settings = {key: value for key, value in config.items() if key != "model_type"}
    theirs = AutoConfig.for_model(config["model_type"], **settings).to_dict()
    filled = fill_in(config)
    assert read_spec(filled.config, "a") == read_spec(theirs, "b")
    (remark,) = filled.remarks
    assert all(key in remark for key in absent if key not in ("layer_types", "rope_parameters"))


def test_a_rope_without_its_base_gets_the_class_s() -> None:
    config = {**tiny_gemma3(), "rope_parameters": {FULL: {"rope_type": "linear", "factor": 8.0}}}
    filled = fill_in(config)
    assert filled.config["rope_parameters"] == {
        FULL: {"rope_type": "linear", "factor": 8.0, "rope_theta": 1e6},
        SLIDING: {"rope_theta": 1e4},
    }
    read_spec(filled.config, "config.json")
    single = fill_in({**tiny_gemma2(), "rope_parameters": {"rope_type": "default"}, "rope_theta": 5e4})
    assert single.config["rope_parameters"]["rope_theta"] == 5e4
    assert single.remarks == ()


@pytest.mark.parametrize("family", TINY_CONFIGS)
def test_a_config_that_says_everything_is_left_as_it_is(family: str) -> None:
    config = TINY_CONFIGS[family]()
    assert fill_in(config).remarks == ()
    assert fill_in(config).config == config


def test_a_config_of_another_model_is_left_as_it_is() -> None:
    assert fill_in({"model_type": "llama"}).config == {"model_type": "llama"}
    assert fill_in({}).config == {}
