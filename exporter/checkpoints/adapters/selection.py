"""Which modules the patterns of an adapter_config.json mean, and which rank and alpha they give them.

A module may be called in several ways (`spellings`): patterns were written for the model it was trained
on, which may have had towers. Not about tensors. Source: peft 0.21 `check_target_module_exists`,
`get_pattern_key` and `_set_trainable`, whose expressions are repeated here to the letter.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping

from exporter.checkpoints.adapters.adapter_config import AdapterConfig
from exporter.checkpoints.adapters.patterns import match, matches_whole
from exporter.models.text.spec import Role, WeightSpec

ALL_LINEAR = "all-linear"
PEFTS_CHOICE = (
    "q_proj",
    "v_proj",
)  # peft's `TRANSFORMERS_MODELS_TO_LORA_TARGET_MODULES_MAPPING`, every Gemma
ADAPTABLE = (Role.LINEAR, Role.EMBEDDING, Role.PER_LAYER_EMBEDDING, Role.HEAD)


def module_of(weight: str) -> str:
    """The module a weight is of, by canonical name."""
    return weight.removesuffix(".weight")


def spellings(weight: str, found: Iterable[str] = ()) -> tuple[str, ...]:
    """What a weight's module may be called: as found in the file, alone, and among towers."""
    module = module_of(weight)
    inner = module.removeprefix("model.")
    among = () if inner == module else (f"model.language_model.{inner}", f"language_model.{module}")
    return tuple(dict.fromkeys((*found, module, *among)))


def is_adapted(config: AdapterConfig, weight: WeightSpec, names: Iterable[str]) -> bool:
    """Whether peft would put factors on the weight's module, by any of its names."""
    if weight.role not in ADAPTABLE:
        return False
    if config.target == ALL_LINEAR:
        return weight.role is Role.LINEAR and not any(_is_excluded(config, name) for name in names)
    return any(_is_targeted(config, name) and not _is_excluded(config, name) for name in names)


def is_saved_whole(config: AdapterConfig, names: Iterable[str]) -> bool:
    """Whether a module, or one that it is in, is among `modules_to_save`."""
    return any(
        holder.endswith(saved)
        for name in names
        for holder in _with_holders(name)
        for saved in config.modules_to_save
    )


def scaling_and_rank(config: AdapterConfig, names: Iterable[str]) -> tuple[float, int]:
    """What B @ A is multiplied with, and the rank of both."""
    spelled = tuple(names)
    rank = _by_pattern(config.rank_pattern, spelled, config.rank)
    alpha = _by_pattern(config.alpha_pattern, spelled, config.alpha)
    return float(alpha) / (math.sqrt(rank) if config.rank_stabilized else rank), int(rank)


def trained_tokens(config: AdapterConfig, names: Iterable[str]) -> tuple[int, ...]:
    """WeightRows of a module that `trainable_token_indices` names, empty for none."""
    spelled = tuple(names)
    return next(
        (
            tokens
            for module, tokens in config.tokens.items()
            if any(name.endswith(module) for name in spelled)
        ),
        (),
    )


def _by_pattern(patterns: Mapping[str, float], names: Iterable[str], default: float) -> float:
    """The first pattern that matches decides."""
    for pattern, value in patterns.items():
        if any(match(rf"(.*\.)?({pattern})$", name) for name in names):
            return value
    return default


def _is_excluded(config: AdapterConfig, name: str) -> bool:
    if isinstance(config.exclude, str):
        excluded = matches_whole(config.exclude, name)
    else:
        excluded = any(name == each or name.endswith(f".{each}") for each in config.exclude)
    return excluded or any(match(rf"(^|.*\.){saved}($|\..*)", name) for saved in config.modules_to_save)


def _is_targeted(config: AdapterConfig, name: str) -> bool:
    if isinstance(config.target, str):
        return matches_whole(config.target, name)
    targets = PEFTS_CHOICE if config.target is None else config.target
    if name in targets:
        return True
    if not any(name.endswith(f".{target}") for target in targets):
        return False
    return config.layers is None or _layer(config, name) in config.layers


def _layer(config: AdapterConfig, name: str) -> int | None:
    """The first number behind a name (of `layers_pattern`, where there is one)."""
    expressions = [rf"(?:^|.*?\.){pattern}\.(?P<idx>\d+)\." for pattern in config.layers_pattern]
    for expression in expressions or [r".*?\.[^.]*\.(?P<idx>\d+)\."]:
        if (found := match(expression, name)) is not None:
            return int(found.group("idx"))
    return None


def _with_holders(name: str) -> list[str]:
    words = name.split(".")
    return [".".join(words[:count]) for count in range(1, len(words) + 1)]
