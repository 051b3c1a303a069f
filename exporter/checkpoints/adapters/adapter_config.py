"""`AdapterConfig`: adapter_config.json of a LoRA; each key changes nothing, is done, or is refused.

Not about which modules its patterns mean (`selection`) or the tensors beside it (`adapter_tensors`).
Source: peft 0.21 `LoraConfig`, `PeftConfig`, and what `LoraLayer.update_layer` does with them.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from exporter.checkpoints.adapters.initialisations import refuse_foreign_base
from exporter.checkpoints.adapters.patterns import complaint
from exporter.checkpoints.files.checkpoint_directory import CheckpointDirectory
from exporter.errors import CheckpointError
from runtimes.excerpt import excerpt

CONFIG_NAME = "adapter_config.json"
MERGE_WITH_PEFT = "merge it with peft's merge_and_unload() and export the result"
# Keys of a training or a loading; none of them is read when peft merges.
CHANGE_NOTHING = frozenset(
    {
        "auto_mapping", "corda_config", "eva_config", "inference_mode", "loftq_config", "lora_dropout",
        "lora_ga_config", "megatron_core", "merge_weights", "peft_version", "qalora_group_size", "revision",
        "runtime_config", "velora_config",
    }
)  # fmt: skip

OFF: tuple[object, ...] = (
    None,
    False,
    [],
)  # an empty object is none of them: peft makes a config of defaults of it
# Keys that may be there as long as they are off, and what they would mean.
MUST_BE_OFF = {
    "alora_invocation_tokens": "an activated LoRA works only behind its invocation tokens: no merge does",
    "arrow_config": "it routes each token to adapters of its own: no merge does",
    "enable_lora": "it adapts slices of a fused matrix, which Gemma does not have",
    "kasa_config": "its factors belong to a base that was truncated",
    "layer_replication": "it makes a model of more layers than the base has",
    "lora_bias": "it trains biases, and Gemma's linears have none to merge them into",
    "megatron_config": "it was trained on Megatron's layers, not on transformers'",
    "monteclora_config": "its factors are drawn at random as it runs",
    "target_parameters": "it adapts parameters that are no linear's or embedding's weight",
    "use_bdlora": "its factors are block-diagonal, stored in another shape",
    "use_qalora": "it pools the inputs of a GPTQ matrix",
}
LANGUAGE_MODEL_TASKS = (None, "CAUSAL_LM")
BIASES = (None, "none", "all", "lora_only")  # Gemma's linears have none, so none is trained


@dataclass(frozen=True)
class AdapterConfig:
    """What of adapter_config.json decides how the weights merge.

    target: what to adapt, a pattern or module names; None for peft's choice for Gemma. layers: to which
    `target` is limited, None for all. tokens: rows trained apart, by the module they are of; those of the
    input embedding have the name "embed_tokens" where the file gives only a list. base: what the file
    calls the model it was trained on.
    """

    rank: int
    alpha: float
    rank_pattern: Mapping[str, int]
    alpha_pattern: Mapping[str, float]
    rank_stabilized: bool
    dora: bool
    target: str | tuple[str, ...] | None
    exclude: str | tuple[str, ...]
    layers: tuple[int, ...] | None
    layers_pattern: tuple[str, ...]
    modules_to_save: tuple[str, ...]
    tokens: Mapping[str, tuple[int, ...]]
    tied: bool
    base: str | None


@dataclass(frozen=True)
class _Keys:
    """The object in the file; `where` is the file's path, `text` what is in it."""

    where: str
    text: str
    raw: Mapping[str, Any]

    def wrong(self, key: str, what: str, then: str = f"mend it, or {MERGE_WITH_PEFT}") -> CheckpointError:
        return CheckpointError(f"{self.where}{self.line(key)}: {key}", what, then)

    def line(self, key: str) -> str:
        found = re.search(rf'"{re.escape(key)}"\s*:', self.text)
        return "" if found is None else f" line {self.text.count(chr(10), 0, found.start()) + 1}"

    def unexpected(self, key: str, expected: str) -> CheckpointError:
        return self.wrong(key, f"expected {expected}, got {excerpt(self.raw[key])}")

    def flag(self, key: str) -> bool:
        value = self.raw.get(key)
        if value is not None and not isinstance(value, bool):
            raise self.unexpected(key, "true or false")
        return bool(value)

    def number(self, key: str, default: float) -> float:
        value = self.raw.get(key, default)
        if not is_number(value):
            raise self.unexpected(key, "a number")
        return float(value)

    def count(self, key: str, default: int) -> int:
        value = self.raw.get(key, default)
        if not is_count(value):
            raise self.unexpected(key, "a positive whole number")
        return int(value)

    def names(self, key: str) -> tuple[str, ...]:
        value = self.raw.get(key)
        if not isinstance(value, list | None) or not all(isinstance(entry, str) for entry in value or ()):
            raise self.unexpected(key, "a list of names")
        return tuple(value or ())

    def pattern_or_names(self, key: str) -> str | tuple[str, ...] | None:
        """One regular expression, or names; None for null."""
        value = self.raw.get(key)
        if value is None:
            return None
        return self.pattern(key, value) if isinstance(value, str) else self.names(key)

    def pattern(self, key: str, value: str) -> str:
        if (why := complaint(value)) is not None:
            raise self.wrong(key, f"{excerpt(value)} {why}")
        return value

    def patterns(self, key: str) -> dict[str, Any]:
        """An object of numbers by regular expression."""
        value = self.raw.get(key)
        if not isinstance(value, dict | None):
            raise self.unexpected(key, "an object of patterns and numbers")
        return {self.pattern(key, pattern): number for pattern, number in (value or {}).items()}


def read_adapter_config(directory: CheckpointDirectory) -> AdapterConfig:
    """Raises CheckpointError naming the first key, and its line, that is unknown, impossible, or would make
    peft do something else than change weights of the base as it was published."""
    keys = _Keys(
        str(directory.path / CONFIG_NAME),
        directory.file(CONFIG_NAME).read_text(encoding="utf-8", errors="replace"),
        directory.json(CONFIG_NAME),
    )
    _require_lora(keys)
    initialisation = "init_lora_weights"
    refuse_foreign_base(keys.raw.get(initialisation), keys.where + keys.line(initialisation))
    config = AdapterConfig(
        rank=keys.count("r", 8),
        alpha=keys.number("lora_alpha", 8),
        rank_pattern=_all(keys, "rank_pattern", is_count, "positive whole numbers"),
        alpha_pattern=_all(keys, "alpha_pattern", is_number, "numbers"),
        rank_stabilized=keys.flag("use_rslora"),
        dora=keys.flag("use_dora"),
        target=keys.pattern_or_names("target_modules"),
        exclude=keys.pattern_or_names("exclude_modules") or (),
        layers=_layers(keys),
        layers_pattern=_layers_pattern(keys),
        modules_to_save=tuple(
            keys.pattern("modules_to_save", name) for name in keys.names("modules_to_save")
        ),
        tokens=_tokens(keys),
        tied=keys.flag("ensure_weight_tying"),
        base=_base(keys),
    )
    _refuse_unknown(keys)
    return config


def is_count(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and value > 0


def is_number(value: object) -> bool:
    if not isinstance(value, int | float) or isinstance(value, bool):
        return False
    return abs(value) < 1e30 and math.isfinite(value)


def _require_lora(keys: _Keys) -> None:
    kind = keys.raw.get("peft_type")
    if kind is None:
        raise CheckpointError(
            keys.where,
            "there is no peft_type: it is not an adapter of PEFT",
            "fuse it with the tool that made it (mlx_lm.fuse) and export the result",
        )
    if kind != "LORA":
        raise keys.wrong("peft_type", f"is {excerpt(kind)}, and only LORA is read", MERGE_WITH_PEFT)
    if (task := keys.raw.get("task_type")) not in LANGUAGE_MODEL_TASKS:
        raise keys.wrong(
            "task_type",
            f"is {excerpt(task)}: what it trained is no language model",
            "give an adapter for CAUSAL_LM",
        )
    for key, meaning in MUST_BE_OFF.items():
        if keys.raw.get(key) not in OFF:
            raise keys.wrong(key, f"is {excerpt(keys.raw[key])}: {meaning}", _way_out(key))
    if keys.raw.get("bias") not in BIASES:
        raise keys.unexpected("bias", "'none', 'all' or 'lora_only'")
    keys.flag("fan_in_fan_out")  # peft sets it to false for linears, whatever the file says


def _way_out(key: str) -> str:
    if key in ("alora_invocation_tokens", "arrow_config", "lora_bias", "monteclora_config"):
        return "peft cannot merge it either: train a plain LoRA"
    return MERGE_WITH_PEFT


def _all(keys: _Keys, key: str, right: Any, expected: str) -> dict[str, Any]:
    found = keys.patterns(key)
    if not all(right(value) for value in found.values()):
        raise keys.unexpected(key, f"an object of {expected}")
    return found


def _layers(keys: _Keys) -> tuple[int, ...] | None:
    value = keys.raw.get("layers_to_transform")
    given = [value] if type(value) is int else value
    if not isinstance(given, list | None) or not all(type(entry) is int for entry in given or ()):
        raise keys.unexpected("layers_to_transform", "layer numbers")
    if given is not None and isinstance(keys.raw.get("target_modules"), str):
        raise keys.wrong("layers_to_transform", "cannot go with target_modules that is one pattern")
    return tuple(given) if given else None


def _layers_pattern(keys: _Keys) -> tuple[str, ...]:
    value = keys.pattern_or_names("layers_pattern") or ()
    given = (value,) if isinstance(value, str) else value
    if given and not keys.raw.get("layers_to_transform") and keys.raw.get("layers_to_transform") != 0:
        raise keys.wrong("layers_pattern", "says nothing without layers_to_transform")
    return tuple(keys.pattern("layers_pattern", pattern) for pattern in given)


def _tokens(keys: _Keys) -> dict[str, tuple[int, ...]]:
    key = "trainable_token_indices"
    value = keys.raw.get(key)
    by_module = value if isinstance(value, dict | None) else {"embed_tokens": value}
    found = {}
    for module, tokens in (by_module or {}).items():
        if not isinstance(tokens, list) or not all(type(each) is int and each >= 0 for each in tokens):
            raise keys.unexpected(key, "token ids, or an object of them by module")
        if len(set(tokens)) != len(tokens):
            raise keys.wrong(key, "names a token twice")
        if tokens:
            found[module] = tuple(tokens)
    return found


def _base(keys: _Keys) -> str | None:
    value = keys.raw.get("base_model_name_or_path")
    if not isinstance(value, str | None):
        raise keys.unexpected("base_model_name_or_path", "a name")
    return value or None


def _refuse_unknown(keys: _Keys) -> None:
    known = CHANGE_NOTHING | MUST_BE_OFF.keys() | READ
    if unknown := [key for key in keys.raw if key not in known]:
        key = unknown[0]
        raise CheckpointError(
            f"{keys.where}{keys.line(key)}",
            f"unknown key {excerpt(key)}",
            f"it may change what is merged; delete it to export without it, or {MERGE_WITH_PEFT}",
        )


READ = frozenset(
    {
        "alpha_pattern", "base_model_name_or_path", "bias", "ensure_weight_tying", "exclude_modules",
        "fan_in_fan_out", "init_lora_weights", "layers_pattern", "layers_to_transform", "lora_alpha",
        "modules_to_save", "peft_type", "r", "rank_pattern", "target_modules", "task_type",
        "trainable_token_indices", "use_dora", "use_rslora",
    }
)  # fmt: skip
