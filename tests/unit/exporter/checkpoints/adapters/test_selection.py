"""Patterns of an adapter_config.json, held against peft's own functions on every module of a Gemma."""

from __future__ import annotations

from typing import Any

import pytest
from peft import LoraConfig
from peft.tuners.tuners_utils import _ExcludedModule, check_target_module_exists
from peft.utils.other import get_pattern_key

from exporter.checkpoints.adapters.adapter_config import AdapterConfig
from exporter.checkpoints.adapters.selection import (
    is_adapted,
    is_saved_whole,
    module_of,
    scaling_and_rank,
    spellings,
    trained_tokens,
)
from exporter.models.text.families import read_spec
from exporter.models.text.spec import Role, WeightSpec
from tests.tiny import tiny_gemma4_e2b

SPEC = read_spec(tiny_gemma4_e2b(), "tiny")
LINEARS = [weight for weight in SPEC.weights() if weight.role is Role.LINEAR]
SOME = [weight for weight in SPEC.weights() if weight.role in (Role.LINEAR, Role.EMBEDDING)]


def config(**changes: Any) -> AdapterConfig:
    plain: dict[str, Any] = {
        "rank": 8, "alpha": 16.0, "rank_pattern": {}, "alpha_pattern": {}, "rank_stabilized": False,
        "dora": False, "target": None, "exclude": (), "layers": None, "layers_pattern": (),
        "modules_to_save": (), "tokens": {}, "tied": False, "base": None,
    }  # fmt: skip
    return AdapterConfig(**{**plain, **changes})


@pytest.mark.parametrize(
    "settings",
    [
        {"target_modules": ["q_proj", "embed_tokens"]},
        {"target_modules": ["self_attn.q_proj", "model.layers.1.mlp.up_proj", "proj"]},
        {"target_modules": r".*layers\.(1|12)\..*_proj"},
        {"target_modules": r"layers\.1"},
        {"target_modules": []},
        {"target_modules": ["q_proj"], "exclude_modules": ["layers.2.self_attn.q_proj"]},
        {"target_modules": ["q_proj"], "exclude_modules": r".*\.[23]\..*"},
        {"target_modules": ["q_proj", "up_proj"], "layers_to_transform": [0, 11]},
        {"target_modules": ["q_proj", "embed_tokens"], "layers_to_transform": 0},
        {"target_modules": ["q_proj"], "layers_to_transform": [1], "layers_pattern": "layers"},
        {"target_modules": ["q_proj"], "layers_to_transform": [1], "layers_pattern": ["blocks", "layers"]},
        {"target_modules": ["q_proj"], "layers_to_transform": [1], "layers_pattern": "blocks"},
        {"target_modules": ["q_proj", "up_proj"], "modules_to_save": ["mlp"]},
    ],
)
def test_the_modules_adapted_are_pefts(settings: dict[str, Any]) -> None:
    theirs = LoraConfig(**settings)
    target, exclude = settings["target_modules"], settings.get("exclude_modules", ())
    layers, pattern = settings.get("layers_to_transform"), settings.get("layers_pattern", ())
    ours = config(
        target=target if isinstance(target, str) else tuple(target),
        exclude=exclude if isinstance(exclude, str) else tuple(exclude),
        layers=(layers,) if isinstance(layers, int) else None if layers is None else tuple(layers),
        layers_pattern=(pattern,) if isinstance(pattern, str) else tuple(pattern),
        modules_to_save=tuple(settings.get("modules_to_save", ())),
    )
    for weight in SOME:
        module = module_of(weight.name)
        expected = check_target_module_exists(theirs, module)
        meant = bool(expected) and not isinstance(expected, _ExcludedModule)
        assert is_adapted(ours, weight, (module,)) == meant, module


def test_where_nothing_is_targeted_peft_chooses_queries_and_values() -> None:
    found = {
        weight.name.split(".")[-2]
        for weight in LINEARS
        if is_adapted(config(), weight, [module_of(weight.name)])
    }
    assert found == {"q_proj", "v_proj"}


def test_all_linear_is_every_linear_but_the_head() -> None:
    every = config(target="all-linear")
    assert all(is_adapted(every, weight, [module_of(weight.name)]) for weight in LINEARS)
    head = WeightSpec("lm_head.weight", (512, 64), Role.HEAD)
    assert not is_adapted(every, head, ["lm_head"])
    assert not is_adapted(every, SPEC.weights()[0], ["model.embed_tokens"])
    some = config(target="all-linear", exclude=("up_proj",))
    assert not is_adapted(some, LINEARS[0], ["model.layers.0.mlp.up_proj"])


@pytest.mark.parametrize(
    "pattern",
    [
        "q_proj",
        "proj",
        r".*\.1\..*",
        r"^model\.layers\.1.*",
        "layers.1.self_attn.q_proj",
        r"(q|v)_proj",
        "embed_tokens",
    ],
)
def test_ranks_and_alphas_follow_pefts_patterns(pattern: str) -> None:
    ours = config(rank_pattern={pattern: 2, "mlp.*": 4}, alpha_pattern={"v_proj": 1.0, pattern: 5.0})
    for weight in SOME:
        module = module_of(weight.name)
        rank = ours.rank_pattern.get(get_pattern_key(list(ours.rank_pattern), module), 8)
        alpha = ours.alpha_pattern.get(get_pattern_key(list(ours.alpha_pattern), module), 16.0)
        assert scaling_and_rank(ours, (module,)) == (alpha / rank, rank)


def test_a_rank_stabilised_scaling_divides_by_the_root_of_the_modules_own_rank() -> None:
    ours = config(rank_stabilized=True, rank_pattern={"q_proj": 4})
    assert scaling_and_rank(ours, ["model.layers.0.self_attn.q_proj"]) == (8.0, 4)


def test_a_pattern_for_a_model_with_towers_is_met_by_the_text_model_alone() -> None:
    names = spellings("model.layers.1.self_attn.q_proj.weight")
    assert is_adapted(config(target=r"model\.language_model\..*q_proj"), LINEARS[0], names)
    assert is_adapted(config(target=r"language_model\.model\..*q_proj"), LINEARS[0], names)


def test_modules_to_save_are_ends_of_names_and_hold_what_is_in_them() -> None:
    assert is_saved_whole(config(modules_to_save=("norm",)), ["model.layers.0.input_layernorm"])
    assert is_saved_whole(config(modules_to_save=("mlp",)), ["model.layers.0.mlp.up_proj"])
    assert not is_saved_whole(config(modules_to_save=("mlp",)), ["model.layers.0.self_attn.q_proj"])


def test_tokens_are_those_of_the_module_whose_name_ends_so() -> None:
    ours = config(tokens={"embed_tokens": (1, 2), "lm_head": (3,)})
    assert trained_tokens(ours, ["model.embed_tokens"]) == (1, 2)
    assert trained_tokens(ours, ["lm_head"]) == (3,)
    assert trained_tokens(ours, ["model.embed_tokens_per_layer"]) == ()
