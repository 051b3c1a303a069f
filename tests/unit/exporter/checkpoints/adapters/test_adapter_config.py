"""adapter_config.json, key by key: known, or refused with its name, its line and what to do."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import pytest

from exporter.checkpoints.adapters.adapter_config import (
    CHANGE_NOTHING,
    MUST_BE_OFF,
    OFF,
    READ,
    AdapterConfig,
    read_adapter_config,
)
from exporter.checkpoints.files.checkpoint_directory import CheckpointDirectory
from exporter.errors import CheckpointError
from tests.unit.exporter.checkpoints.adapters.written_adapters import write_adapter


def read(directory: Path, **settings: Any) -> AdapterConfig:
    return read_adapter_config(CheckpointDirectory(write_adapter(directory, **settings)))


def test_every_key_peft_writes_is_known() -> None:
    from peft import LoraConfig

    keys = {field.name for field in dataclasses.fields(LoraConfig)}
    assert keys <= CHANGE_NOTHING | MUST_BE_OFF.keys() | READ


def test_no_key_has_two_meanings() -> None:
    assert not CHANGE_NOTHING & MUST_BE_OFF.keys()
    assert not READ & (CHANGE_NOTHING | MUST_BE_OFF.keys())


def test_a_config_as_peft_writes_it_is_read(tmp_path: Path) -> None:
    from peft import LoraConfig

    LoraConfig(
        r=16,
        lora_alpha=3,
        target_modules=["q_proj"],
        task_type="CAUSAL_LM",
        rank_pattern={"k_proj": 2},
        modules_to_save=["lm_head"],
        trainable_token_indices=[4, 5],
        layers_to_transform=2,
        use_rslora=True,
        eva_config=None,
        base_model_name_or_path="google/gemma-3-1b-pt",
        revision="main",
    ).save_pretrained(str(tmp_path))
    assert read_adapter_config(CheckpointDirectory(tmp_path)) == AdapterConfig(
        rank=16,
        alpha=3.0,
        rank_pattern={"k_proj": 2},
        alpha_pattern={},
        rank_stabilized=True,
        dora=False,
        target=("q_proj",),
        exclude=(),
        layers=(2,),
        layers_pattern=(),
        modules_to_save=("lm_head",),
        tokens={"embed_tokens": (4, 5)},
        tied=False,
        base="google/gemma-3-1b-pt",
    )


def test_what_is_absent_has_pefts_defaults(tmp_path: Path) -> None:
    (tmp_path / "adapter_config.json").write_text('{"peft_type": "LORA"}', encoding="utf-8")
    config = read_adapter_config(CheckpointDirectory(tmp_path))
    assert (config.rank, config.alpha, config.target, config.base) == (8, 8.0, None, None)


@pytest.mark.parametrize("key", sorted(CHANGE_NOTHING))
def test_keys_of_a_training_change_nothing(tmp_path: Path, key: str) -> None:
    assert read(tmp_path, **{key: {"any": ["thing"]}}) == read(tmp_path)


@pytest.mark.parametrize("value", [True, False, None, "gaussian", "Gaussian", "eva", "mica", "orthogonal"])
def test_initialisations_that_leave_the_base_alone_are_read(tmp_path: Path, value: object) -> None:
    read(tmp_path, init_lora_weights=value)


@pytest.mark.parametrize(
    ("value", "complaint"),
    [
        ("pissa", "PiSSA took"),
        ("pissa_niter_16", "PiSSA took"),
        ("OLoRA", "OLoRA took"),
        ("corda", "CorDA took"),
        ("loftq", "LoftQ quantised"),
        ("lora_ga", "LoRA-GA took"),
        ("snowflake", "which this gemma-export does not know"),
        (["gaussian"], "expected true, false or a name"),
    ],
)
def test_initialisations_that_change_the_base_are_refused_by_name(
    tmp_path: Path, value: object, complaint: str
) -> None:
    with pytest.raises(CheckpointError, match=complaint) as caught:
        read(tmp_path, init_lora_weights=value)
    assert "line 8: init_lora_weights" in caught.value.where
    assert caught.value.then


@pytest.mark.parametrize("key", MUST_BE_OFF)
def test_what_no_merge_can_do_is_refused_by_its_key(tmp_path: Path, key: str) -> None:
    for off in OFF:
        read(tmp_path, **{key: off})
    values: tuple[object, ...] = (True, [7], {}, {"a": 1}, "x")
    for value in values:
        with pytest.raises(CheckpointError) as caught:
            read(tmp_path, **{key: value})
        assert caught.value.where == f"{tmp_path}/adapter_config.json line 8: {key}"
        assert caught.value.what == f"is {value!r}: {MUST_BE_OFF[key]}"
        assert "peft" in caught.value.then


@pytest.mark.parametrize(
    "kind", ["IA3", "ADALORA", "LOHA", "VERA", "PREFIX_TUNING", "TRAINABLE_TOKENS", "OFT", 3, "lora"]
)
def test_other_methods_are_refused_by_name(tmp_path: Path, kind: object) -> None:
    with pytest.raises(CheckpointError, match=rf"peft_type: is {kind!r}, and only LORA is read; merge it"):
        read(tmp_path, peft_type=kind)


def test_an_adapter_of_another_library_is_told_apart(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match="there is no peft_type"):
        read(tmp_path, peft_type=None, fine_tune_type="lora")


@pytest.mark.parametrize("task", ["SEQ_CLS", "TOKEN_CLS", "SEQ_2_SEQ_LM", "FEATURE_EXTRACTION", 5])
def test_what_is_no_language_model_is_refused(tmp_path: Path, task: object) -> None:
    with pytest.raises(CheckpointError, match=rf"task_type: is {task!r}"):
        read(tmp_path, task_type=task)


def test_an_unknown_key_is_named_with_its_line_and_the_way_out(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError) as caught:
        read(tmp_path, use_rslora=True, unsloth_magic={"a": 1})
    assert caught.value.where == f"{tmp_path}/adapter_config.json line 9"
    assert caught.value.what == "unknown key 'unsloth_magic'"
    assert "delete it to export without it" in caught.value.then


def test_a_message_repeats_little_of_a_long_value(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError) as caught:
        read(tmp_path, r="x" * 10_000)
    assert len(str(caught.value)) < 600


@pytest.mark.parametrize(
    ("settings", "complaint"),
    [
        ({"r": 0}, "r: expected a positive whole number, got 0"),
        ({"r": -4}, "got -4"),
        ({"r": True}, "got True"),
        ({"r": 4.0}, "got 4.0"),
        ({"r": None}, "got None"),
        ({"lora_alpha": "8"}, "lora_alpha: expected a number, got '8'"),
        ({"lora_alpha": float("nan")}, "NaN is no number of JSON"),
        ({"lora_alpha": 10**400}, "cannot be read as JSON .the number"),
        ({"use_rslora": "yes"}, "use_rslora: expected true or false, got 'yes'"),
        ({"use_dora": 1}, "use_dora: expected true or false, got 1"),
        ({"fan_in_fan_out": "no"}, "fan_in_fan_out: expected true or false"),
        ({"ensure_weight_tying": []}, "ensure_weight_tying: expected true or false"),
        ({"bias": "some"}, "bias: expected 'none', 'all' or 'lora_only'"),
        ({"bias": ["none"]}, "bias: expected"),
        ({"target_modules": 3}, "target_modules: expected a list of names, got 3"),
        ({"target_modules": ["q_proj", 3]}, "target_modules: expected a list of names"),
        ({"target_modules": "(q_proj"}, "is no regular expression"),
        ({"exclude_modules": "[a-"}, "exclude_modules: '.a-' is no regular expression"),
        ({"rank_pattern": [4]}, "rank_pattern: expected an object"),
        ({"rank_pattern": {"q_proj": 0}}, "rank_pattern: expected an object of positive whole numbers"),
        ({"rank_pattern": {"*": 4}}, "rank_pattern: .* is no regular expression"),
        ({"alpha_pattern": {"q_proj": "8"}}, "alpha_pattern: expected an object of numbers"),
        ({"modules_to_save": "lm_head"}, "modules_to_save: expected a list of names"),
        ({"modules_to_save": ["lm_head("]}, "modules_to_save: .* is no regular expression"),
        ({"trainable_token_indices": [1, -1]}, "trainable_token_indices: expected token ids"),
        ({"trainable_token_indices": "all"}, "trainable_token_indices: expected token ids"),
        ({"trainable_token_indices": {"embed_tokens": 4}}, "trainable_token_indices: expected token ids"),
        ({"trainable_token_indices": [1, 2, 1]}, "names a token twice"),
        ({"layers_to_transform": "1"}, "layers_to_transform: expected layer numbers"),
        ({"layers_to_transform": [True]}, "layers_to_transform: expected layer numbers"),
        ({"layers_to_transform": [1], "target_modules": "q_proj"}, "cannot go with target_modules"),
        ({"layers_pattern": ["layers"]}, "says nothing without layers_to_transform"),
        ({"base_model_name_or_path": ["a"]}, "base_model_name_or_path: expected a name"),
    ],
)
def test_an_impossible_value_is_refused_with_its_key(
    tmp_path: Path, settings: dict[str, Any], complaint: str
) -> None:
    with pytest.raises(CheckpointError, match=complaint) as caught:
        read(tmp_path, **settings)
    assert "adapter_config.json" in caught.value.where
    assert " line " in caught.value.where or "cannot be read as JSON" in str(caught.value)
    assert caught.value.then


@pytest.mark.parametrize("text", ["", "{", "[1]", '"x"', "nul", '{"a": ' * 5000, "\udcff"])
def test_what_is_no_json_object_is_refused(tmp_path: Path, text: str) -> None:
    (tmp_path / "adapter_config.json").write_bytes(text.encode("utf-8", "surrogateescape"))
    with pytest.raises(CheckpointError, match=r"adapter_config\.json"):
        read_adapter_config(CheckpointDirectory(tmp_path))
