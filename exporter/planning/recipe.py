"""`Recipe`: ordered rules from weight names to schemes, and the quality a release must keep.

Recipes are TOML files beside this module. They say nothing about packing, targets or devices.
"""

from __future__ import annotations

import tomllib
from collections.abc import Mapping, Set
from dataclasses import dataclass
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any

from exporter.errors import RecipeError
from exporter.models.spec import ModelSpec
from exporter.planning.scheme import SCHEMES, Scheme

RECIPES = Path(__file__).parent / "recipes"
RUNTIME_FAMILIES = ("litert", "onnx", "coreml")


@dataclass(frozen=True)
class Rule:
    """The first rule that matches a weight decides. patterns: shell globs over canonical names."""

    patterns: tuple[str, ...]
    scheme: Scheme
    reason: str

    def matches(self, name: str) -> bool:
        return any(fnmatchcase(name, pattern) for pattern in self.patterns)


@dataclass(frozen=True)
class QualityLimit:
    """What a comparison must keep: mean KL in nats at most, top-1 agreement (0 to 1) at least."""

    mean_kl: float
    top1: float
    reason: str


@dataclass(frozen=True)
class Recipe:
    """A named way to quantise a model.

    quantisation: limit on transformers quantised against original. end_to_end: limit per runtime
    family ("litert", "onnx", "coreml"); a family without one is reported, not gated.
    """

    name: str
    description: str
    rules: tuple[Rule, ...]
    quantisation: QualityLimit
    end_to_end: Mapping[str, QualityLimit]

    def schemes(self, spec: ModelSpec) -> dict[str, Scheme]:
        """A scheme for every matrix of the model.

        Raises RecipeError when a weight is undecided or a rule matches nothing.
        """
        names = [weight.name for weight in spec.weights() if weight.is_matrix]
        decided: dict[str, Scheme] = {}
        for name in names:
            rule = next((rule for rule in self.rules if rule.matches(name)), None)
            if rule is None:
                raise RecipeError(
                    f"recipe {self.name}", f"no rule decides {name}", "add a rule that matches it"
                )
            decided[name] = rule.scheme
        for rule in self.rules:
            if not any(rule.matches(name) for name in names):
                raise RecipeError(
                    f"recipe {self.name}",
                    f"the rule for {', '.join(rule.patterns)} matches no weight of {spec.model_type}",
                    "remove it, or correct the pattern",
                )
        return decided


def recipe_names() -> tuple[str, ...]:
    """Names of the recipes that ship."""
    return tuple(sorted(path.stem for path in RECIPES.glob("*.toml")))


def load_recipe(reference: str) -> Recipe:
    """A shipped recipe by name, or a recipe file by path (anything ending in .toml).

    Raises RecipeError naming the file and the key.
    """
    path = Path(reference) if reference.endswith(".toml") else RECIPES / f"{reference}.toml"
    try:
        raw = tomllib.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        raise RecipeError(
            f"recipe {reference!r}",
            "there is none by this name",
            f"use one of {', '.join(recipe_names())}, or the path of a .toml file",
        ) from error
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise RecipeError(path, f"cannot be read as TOML ({error})", "correct the file") from error
    _keys(path, "$", raw, {"description", "rule", "limits"})
    limits = _table(path, "$.limits", raw["limits"])
    _keys(path, "$.limits", limits, {"quantisation"}, optional={"end_to_end"})
    end_to_end = _table(path, "$.limits.end_to_end", limits.get("end_to_end", {}))
    _keys(path, "$.limits.end_to_end", end_to_end, set(), optional=set(RUNTIME_FAMILIES))
    return Recipe(
        name=path.stem,
        description=_text(path, "$.description", raw["description"]),
        rules=_rules(path, raw["rule"]),
        quantisation=_limit(path, "$.limits.quantisation", limits["quantisation"]),
        end_to_end={
            family: _limit(path, f"$.limits.end_to_end.{family}", entry)
            for family, entry in end_to_end.items()
        },
    )


def _rules(path: Path, raw: object) -> tuple[Rule, ...]:
    if not isinstance(raw, list) or not raw:
        raise _wrong(path, "$.rule", "at least one [[rule]]", raw)
    rules = []
    for index, entry in enumerate(raw):
        at = f"$.rule[{index}]"
        table = _table(path, at, entry)
        _keys(path, at, table, {"match", "scheme", "reason"})
        patterns = table["match"]
        if not isinstance(patterns, list) or not patterns or not all(isinstance(p, str) for p in patterns):
            raise _wrong(path, f"{at}.match", "a list of patterns", patterns)
        scheme = SCHEMES.get(table["scheme"]) if isinstance(table["scheme"], str) else None
        if scheme is None:
            raise _wrong(path, f"{at}.scheme", f"one of {', '.join(SCHEMES)}", table["scheme"])
        rules.append(Rule(tuple(patterns), scheme, _text(path, f"{at}.reason", table["reason"])))
    return tuple(rules)


def _limit(path: Path, at: str, raw: object) -> QualityLimit:
    table = _table(path, at, raw)
    _keys(path, at, table, {"mean_kl", "top1", "reason"})
    numbers = {}
    for key in ("mean_kl", "top1"):
        value = table[key]
        if not isinstance(value, int | float) or isinstance(value, bool) or value < 0:
            raise _wrong(path, f"{at}.{key}", "a number from 0", value)
        numbers[key] = float(value)
    if numbers["top1"] > 1:
        raise _wrong(path, f"{at}.top1", "a share from 0 to 1", numbers["top1"])
    return QualityLimit(numbers["mean_kl"], numbers["top1"], _text(path, f"{at}.reason", table["reason"]))


def _table(path: Path, at: str, raw: object) -> Mapping[str, Any]:
    if not isinstance(raw, Mapping):
        raise _wrong(path, at, "a table", raw)
    return raw


def _text(path: Path, at: str, raw: object) -> str:
    if not isinstance(raw, str) or not raw.strip():
        raise _wrong(path, at, "a text", raw)
    return raw


def _keys(
    path: Path, at: str, table: Mapping[str, Any], required: set[str], optional: Set[str] = frozenset()
) -> None:
    if unknown := sorted(set(table) - required - optional):
        raise RecipeError(f"{path}: {at}.{unknown[0]}", "unknown key", "remove it, or correct its name")
    if missing := sorted(required - set(table)):
        raise RecipeError(f"{path}: {at}.{missing[0]}", "missing key", "add it")


def _wrong(path: Path, at: str, expected: str, got: object) -> RecipeError:
    return RecipeError(f"{path}: {at}", f"expected {expected}, got {got!r}", "correct the file")
