"""`Recipe`: ordered rules from weight names to schemes, and the quality a release must keep.

Recipes are TOML files beside this module. They say nothing about packing, targets or devices.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from fnmatch import translate
from functools import cached_property
from pathlib import Path
from typing import Literal

from exporter.errors import RecipeError
from exporter.formats.table import FAMILIES
from exporter.models.text.spec import ModelSpec
from exporter.planning.budget import MIXED, Budget, parse_budget
from exporter.planning.strict_toml import StrictTomlError, parse_toml, read_toml_text
from exporter.schemes import INT8_CHANNEL, SCHEMES, IntegerScheme, Scheme
from runtimes.excerpt import excerpt
from runtimes.records import RecordError, from_plain

RECIPES = Path(__file__).parent / "recipes"
GLOB = re.compile(r"[*?[]")


MethodName = Literal["nearest", "weighted", "error-feedback"]
"""nearest: of weights as they are. weighted: with what large inputs meet counting more. error-feedback: of
least error in a linear's outputs. The last two want calibration text."""


TOKENS_PER_INPUT = 16  # of the widest linear: more change its second moments little


@dataclass(frozen=True)
class Rule:
    """The first rule that matches a weight decides. patterns: shell globs over canonical names.

    method: how codes are found. keep_stored: codes the checkpoint holds already stay as they are; the
    scheme is for other matrices.
    """

    patterns: tuple[str, ...]
    scheme: Scheme
    method: MethodName
    keep_stored: bool
    reason: str

    def matches(self, name: str) -> bool:
        return name in self._names or self._globs.match(name) is not None

    @cached_property
    def _names(self) -> frozenset[str]:
        """Patterns that match themselves alone: a rule of a mix has hundreds."""
        return frozenset(each for each in self.patterns if not GLOB.search(each))

    @cached_property
    def _globs(self) -> re.Pattern[str]:
        """All others, as one."""
        return re.compile(
            "|".join(translate(each) for each in self.patterns if GLOB.search(each)) or "(?!)"
        )


@dataclass(frozen=True)
class QualityLimit:
    """What a comparison must keep: mean KL in nats at most, top-1 agreement (0 to 1) at least.

    domain_kl: mean KL of the worst language, code or chat at most; None for no such limit.
    """

    mean_kl: float
    top1: float
    reason: str
    domain_kl: float | None = None


@dataclass(frozen=True)
class Equalization:
    """Exponents of the exact rescaling before quantising (`exporter.quantization.transforms.equalization`).

    weights, activations: of a linear's columns. embedding: of the tied embedding's columns.
    """

    weights: float
    activations: float
    embedding: float
    reason: str


@dataclass(frozen=True)
class Calibration:
    """tokens: of the calibration text that passes through the model."""

    tokens: int
    reason: str

    def tokens_for(self, spec: ModelSpec) -> int:
        """Fewer for a model whose widest linear has few inputs: its moments are soon known."""
        widest = max(weight.shape[1] for weight in spec.weights() if weight.is_matrix)
        return min(self.tokens, TOKENS_PER_INPUT * widest)


@dataclass(frozen=True)
class Recipe:
    """A named way to quantise a model. text: the TOML it was read from, which a release carries.

    equalization: None to quantise the weights as they are. calibration: None where no rule wants it.
    quantisation: limit on transformers quantised against original. end_to_end: limit by the name of a
    runtime family; one without is reported, not gated. instead: by the name of a family that cannot carry
    it, the shipped recipe for that family's formats. budget: within which schemes are still to be chosen
    for the model in hand (`mixed_recipe`), its rules saying until then what they are where it is ample;
    None once they are whole. vision, audio: rules for an image tower and an audio encoder, before those
    that every recipe has (`tower_rules`).
    """

    name: str
    description: str
    text: str
    rules: tuple[Rule, ...]
    equalization: Equalization | None
    calibration: Calibration | None
    quantisation: QualityLimit
    end_to_end: Mapping[str, QualityLimit]
    instead: Mapping[str, str] = field(default_factory=dict)
    budget: Budget | None = None
    vision: tuple[Rule, ...] = ()
    audio: tuple[Rule, ...] = ()

    def schemes(self, spec: ModelSpec) -> dict[str, Scheme]:
        """A scheme for every matrix of a model whose checkpoint holds no codes. Raises as `rules_for`."""
        return {name: rule.scheme for name, rule in self.rules_for(spec).items()}

    def rules_for(self, spec: ModelSpec) -> dict[str, Rule]:
        """The rule that decides each matrix of the model.

        Raises RecipeError when a weight is undecided or a rule matches nothing.
        """
        names = [weight.name for weight in spec.weights() if weight.is_matrix]
        decided: dict[str, Rule] = {}
        for name in names:
            rule = next((rule for rule in self.rules if rule.matches(name)), None)
            if rule is None:
                raise RecipeError(
                    f"recipe {self.name}", f"no rule decides {name}", "add a rule that matches it"
                )
            decided[name] = rule
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
    """A shipped recipe by name, a recipe file by path (anything ending in .toml), or "mixed:" and a budget.

    Raises RecipeError naming the file and the key.
    """
    if reference.startswith(MIXED):
        return _to_be_chosen(parse_budget(reference))
    path = Path(reference) if reference.endswith(".toml") else RECIPES / f"{reference}.toml"
    try:
        text = read_toml_text(path)
    except FileNotFoundError as error:
        if reference.endswith(".toml"):
            raise RecipeError(path, "no such file", "correct the path, or name a recipe") from error
        raise RecipeError(
            f"recipe {excerpt(reference)}",
            "there is none by this name",
            f"use one of {', '.join(recipe_names())}, mixed:BUDGET (mixed:246MB, mixed:4.8), or the "
            "path of a .toml file",
        ) from error
    except (OSError, ValueError) as error:
        raise RecipeError(path, f"cannot be read ({error})", "correct the file") from error
    return parse_recipe(text, path.stem, str(path))


def _to_be_chosen(budget: Budget) -> Recipe:
    """int4's equalisation, calibration and limits, for whatever schemes a budget comes to."""
    ample = Rule(("*",), INT8_CHANNEL, "error-feedback", False, "The budget holds everything in 8 bits.")
    name = f"mixed-{budget.asked}"
    return replace(load_recipe("int4"), name=name, description="", text="", rules=(ample,), budget=budget)


def parse_recipe(text: str, name: str, where: str) -> Recipe:
    """A recipe from its TOML text. `where` names the file in errors. Raises RecipeError."""
    try:
        file = from_plain(_RecipeFile, parse_toml(text), absent_is_none=True)
        _check(file)
        rules = tuple(_rule(entry, f"$.rule[{index}]") for index, entry in enumerate(file.rule))
        vision, audio = (
            tuple(_tower_rule(entry, f"$.{name}[{index}]") for index, entry in enumerate(entries or ()))
            for name, entries in (("vision", file.vision), ("audio", file.audio))
        )
    except StrictTomlError as error:
        raise RecipeError(where, f"cannot be read as TOML ({error})", "correct the file") from error
    except RecordError as error:
        raise RecipeError(f"{where}: {error.at}", error.what, "correct the file") from error
    return Recipe(
        name=name,
        description=file.description,
        text=text,
        rules=rules,
        equalization=file.equalization,
        calibration=file.calibration,
        quantisation=file.limits.quantisation,
        end_to_end=file.limits.end_to_end or {},
        instead=file.instead or {},
        vision=vision,
        audio=audio,
    )


@dataclass(frozen=True)
class _RuleEntry:
    match: tuple[str, ...]
    scheme: str
    method: MethodName | None
    keep_stored: bool | None
    reason: str


@dataclass(frozen=True)
class _Limits:
    quantisation: QualityLimit
    end_to_end: dict[str, QualityLimit] | None


@dataclass(frozen=True)
class _RecipeFile:
    """The file's schema, read by `runtimes.records`."""

    description: str
    rule: tuple[_RuleEntry, ...]
    limits: _Limits
    equalization: Equalization | None
    calibration: Calibration | None
    instead: dict[str, str] | None
    vision: tuple[_RuleEntry, ...] | None
    audio: tuple[_RuleEntry, ...] | None


def _tower_rule(entry: _RuleEntry, at: str) -> Rule:
    if entry.method not in (None, "nearest"):
        raise RecordError(f"{at}.method", "wants calibration text, and none reaches a tower")
    return _rule(entry, at)


def _rule(entry: _RuleEntry, at: str) -> Rule:
    if not entry.match:
        raise RecordError(f"{at}.match", "expected at least one pattern")
    if entry.scheme not in SCHEMES:
        raise RecordError(
            f"{at}.scheme", f"expected one of {', '.join(SCHEMES)}, got {excerpt(entry.scheme)}"
        )
    scheme = SCHEMES[entry.scheme]
    method = entry.method or "nearest"
    if method != "nearest" and not isinstance(scheme, IntegerScheme):
        raise RecordError(f"{at}.method", f"finds codes, and {scheme.name} has none")
    return Rule(entry.match, scheme, method, bool(entry.keep_stored), entry.reason)


def _check(file: _RecipeFile) -> None:
    """Values that have the right type and cannot be."""
    limits = {"quantisation": file.limits.quantisation}
    for family, limit in (file.limits.end_to_end or {}).items():
        _require_family(f"$.limits.end_to_end.{family}", family)
        limits[f"end_to_end.{family}"] = limit
    for family, other in (file.instead or {}).items():
        _require_family(f"$.instead.{family}", family)
        if other not in recipe_names():
            known = ", ".join(recipe_names())
            raise RecordError(f"$.instead.{family}", f"expected one of {known}, got {excerpt(other)}")
    for name, limit in limits.items():
        _require_within(f"$.limits.{name}.mean_kl", limit.mean_kl, math.inf)
        _require_within(f"$.limits.{name}.top1", limit.top1, 1.0)
        if limit.domain_kl is not None:
            _require_within(f"$.limits.{name}.domain_kl", limit.domain_kl, math.inf)
            if name != "quantisation":
                raise RecordError(f"$.limits.{name}.domain_kl", "is held against quantisation alone")
    if (calibrated := file.calibration) is not None and calibrated.tokens < 1:
        raise RecordError("$.calibration.tokens", f"expected at least 1, got {calibrated.tokens}")
    wants = any(entry.method not in (None, "nearest") for entry in file.rule)
    if wants and calibrated is None:
        raise RecordError("$.calibration", "is missing, and a rule's method wants calibration text")
    if calibrated is not None and not wants:
        raise RecordError("$.calibration", "is there, and no rule's method wants calibration text")
    if (how := file.equalization) is not None:
        if any(entry.keep_stored for entry in file.rule):
            raise RecordError("$.equalization", "rewrites the weights that a rule with keep_stored keeps")
        for key, exponent in (
            ("weights", how.weights),
            ("activations", how.activations),
            ("embedding", how.embedding),
        ):
            _require_within(f"$.equalization.{key}", exponent, 1.0)


def _require_family(at: str, family: str) -> None:
    if family not in FAMILIES:
        raise RecordError(at, f"unknown runtime; known here: {', '.join(sorted(FAMILIES))}")


def _require_within(at: str, value: float, most: float) -> None:
    if not 0 <= value <= most:
        upper = "" if most == math.inf else f" to {most:g}"
        raise RecordError(at, f"expected a number from 0{upper}, got {value!r}")
