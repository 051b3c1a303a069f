"""`Recipe`: ordered rules from weight names to schemes, and the quality a release must keep.

Recipes are TOML files beside this module. They say nothing about packing, targets or devices.
"""

from __future__ import annotations

import math
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
class Equalization:
    """Exponents of the exact rescaling before quantising (`exporter.quantization.equalization`).

    weights, activations: of a linear's columns. embedding: of the tied embedding's columns.
    """

    weights: float
    activations: float
    embedding: float
    reason: str


@dataclass(frozen=True)
class Recipe:
    """A named way to quantise a model.

    equalization: None to quantise the weights as they are. quantisation: limit on transformers
    quantised against original. end_to_end: limit per runtime family ("litert", "onnx", "coreml"); a
    family without one is reported, not gated.
    """

    name: str
    description: str
    rules: tuple[Rule, ...]
    equalization: Equalization | None
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
    _keys(path, "$", raw, {"description", "rule", "limits"}, optional={"equalization"})
    limits = _table(path, "$.limits", raw["limits"])
    _keys(path, "$.limits", limits, {"quantisation"}, optional={"end_to_end"})
    end_to_end = _table(path, "$.limits.end_to_end", limits.get("end_to_end", {}))
    _keys(path, "$.limits.end_to_end", end_to_end, set(), optional=set(RUNTIME_FAMILIES))
    return Recipe(
        name=path.stem,
        description=_text(path, "$.description", raw["description"]),
        rules=_rules(path, raw["rule"]),
        equalization=_equalization(path, raw["equalization"]) if "equalization" in raw else None,
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


def _equalization(path: Path, raw: object) -> Equalization:
    at = "$.equalization"
    table = _table(path, at, raw)
    _keys(path, at, table, {"weights", "activations", "embedding", "reason"})
    exponents = {
        key: _number(path, f"{at}.{key}", table[key], most=1.0)
        for key in ("weights", "activations", "embedding")
    }
    return Equalization(**exponents, reason=_text(path, f"{at}.reason", table["reason"]))


def _limit(path: Path, at: str, raw: object) -> QualityLimit:
    table = _table(path, at, raw)
    _keys(path, at, table, {"mean_kl", "top1", "reason"})
    return QualityLimit(
        mean_kl=_number(path, f"{at}.mean_kl", table["mean_kl"], most=math.inf),
        top1=_number(path, f"{at}.top1", table["top1"], most=1.0),
        reason=_text(path, f"{at}.reason", table["reason"]),
    )


def _number(path: Path, at: str, raw: object, most: float) -> float:
    if not isinstance(raw, int | float) or isinstance(raw, bool) or not 0 <= raw <= most:
        upper = "" if most == math.inf else f" to {most:g}"
        raise _wrong(path, at, f"a number from 0{upper}", raw)
    return float(raw)


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
