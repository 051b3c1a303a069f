"""`mixed_recipe`: from what each matrix's schemes cost to an ordinary recipe within a budget.

Its text is written here, a rule for every matrix that is not as most are, with the reason: a release
carries it, and whoever wants to edits it. Not about measuring losses
(`exporter.quantization.sensitivity`) or how options are chosen (`mixture`).
"""

from __future__ import annotations

import json
import math
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, replace

from exporter.byte_size import in_one_unit, megabytes
from exporter.errors import RecipeError
from exporter.formats.family import RuntimeFamily
from exporter.models.components import Tower
from exporter.models.text.spec import WeightSpec
from exporter.planning.budget import MIXED, MOST_BITS, in_short
from exporter.planning.mixture import (
    Choice,
    Option,
    Options,
    choose,
    largest,
    smallest,
    total_bytes,
    total_loss,
)
from exporter.planning.plan import divides
from exporter.planning.recipe import QualityLimit, Recipe, load_recipe, parse_recipe
from exporter.planning.tower_rules import tower_rules
from exporter.schemes import FP16, INT4_CHANNEL, INT4_G32, INT4_G32_ZP, INT8_CHANNEL, SCHEMES, Scheme

CANDIDATES: tuple[Scheme, ...] = (INT4_CHANNEL, INT4_G32, INT4_G32_ZP, INT8_CHANNEL, FP16)
BASES: tuple[Scheme, ...] = (INT4_G32_ZP, INT4_G32, INT4_CHANNEL)  # the best of few bits first
# Two thirds to four fifths of the loss predicted on a little calibration text are measured (docs/adr/0026).
MARGIN, ALLOWANCE = 1.25, 0.01

Losses = Mapping[str, Mapping[str, float]]
"""KL in nats that a matrix costs when it alone is quantised, by matrix and name of the scheme."""


def candidates(
    weights: Iterable[WeightSpec], families: Iterable[RuntimeFamily]
) -> dict[str, tuple[Scheme, ...]]:
    """The schemes each matrix may get, of few bits to many: those that every runtime carries.

    Raises RecipeError for a matrix without any.
    """
    every = tuple(families)
    carried = [each for each in CANDIDATES if all(family.carries(each) for family in every)]
    found = {}
    for weight in weights:
        if weight.is_matrix:
            found[weight.name] = tuple(each for each in carried if divides(weight.shape, each))
            if not found[weight.name]:
                raise RecipeError(
                    weight.name,
                    f"none of {', '.join(each.name for each in CANDIDATES)} is carried by all of "
                    f"{', '.join(family.name for family in every)}",
                    "choose fewer formats, or another recipe",
                )
    return found


def base(schemes: Iterable[Scheme]) -> Scheme | None:
    """The scheme of few bits among them that a matrix has unless bytes are spent on it, if there is one."""
    there = tuple(schemes)
    return next((each for each in BASES if each in there), None)


def within_release(recipe: Recipe, towers: Sequence[Tower]) -> Recipe:
    """The same recipe, whose budget knows of the towers beside the text model where it is a size."""
    if not towers or recipe.budget is None or recipe.budget.bytes is None:
        return recipe
    return replace(recipe, budget=replace(recipe.budget, beside=_beside(recipe, towers)))


def range_of(
    weights: Sequence[WeightSpec], families: Iterable[RuntimeFamily], towers: Sequence[Tower]
) -> tuple[int, int]:
    """The smallest budget of a release, in bytes, and the largest that integers have use for. Raises
    RecipeError as `candidates`."""
    options = _options(weights, candidates(weights, families), None)
    integers = {name: [each for each in some if each.scheme != FP16.name] for name, some in options.items()}
    beside = _beside(load_recipe(f"{MIXED}{MOST_BITS:g}"), towers)
    return smallest(options) + beside, largest(integers) + beside


def _beside(recipe: Recipe, towers: Sequence[Tower]) -> int:
    """Bytes of towers' matrices."""
    beside = 0
    for tower in towers:
        rules = tower_rules(recipe, tower)
        matrices = (each for each in tower.weights if each.is_matrix)
        beside += sum(rules[each.name].scheme.stored_bytes(each.shape) for each in matrices)
    return beside


def require_possible(
    recipe: Recipe, weights: Sequence[WeightSpec], schemes: Mapping[str, Sequence[Scheme]]
) -> None:
    """Raise RecipeError for a budget that no choice of these schemes is within."""
    least = smallest(_options(weights, schemes, None))
    most = _most(recipe, weights)
    if most < least:
        assert recipe.budget is not None
        beside, bits = recipe.budget.beside, math.ceil(1000 * _bits(least, weights)) / 1000
        tower = f"beside its towers' {megabytes(beside)} " if beside else ""
        may, takes = in_one_unit(max(0, most), least)
        enough = in_short(least + beside) if recipe.budget.bits is None else f"{bits:g}"
        raise RecipeError(
            f"recipe {recipe.name}",
            f"{tower}its matrices may take {may}, and the smallest choice takes {takes} ({bits:.3f} bits a "
            "weight)",
            f"give at least {MIXED}{enough}, or formats that carry smaller schemes"
            + (", or --components text" if beside else ""),
        )


def mixed_recipe(recipe: Recipe, weights: Sequence[WeightSpec], losses: Losses) -> Recipe:
    """The recipe that `recipe` comes to, which has a budget: of least predicted loss within it.

    losses: of every scheme each matrix may get. Raises RecipeError as `require_possible`.
    """
    schemes = {name: [SCHEMES[each] for each in by_scheme] for name, by_scheme in losses.items()}
    require_possible(recipe, weights, schemes)
    options, most = _options(weights, schemes, losses), _most(recipe, weights)
    in_integers = {
        name: [o for o in some if o.scheme != FP16.name] or some for name, some in options.items()
    }
    largest = sum(max(each.bytes for each in some) for some in in_integers.values())
    choice = choose(options if most >= largest else in_integers, most)
    text = _text(recipe, weights, options, choice)
    return replace(parse_recipe(text, recipe.name, f"recipe {recipe.name}"), budget=None)


def unmeasured(weights: Iterable[WeightSpec], schemes: Mapping[str, Sequence[Scheme]]) -> Losses:
    """In place of losses that nobody has measured yet: the more bytes the less, so that a choice takes what
    its budget allows, as one that was measured does. No nats."""
    stored = {
        each.name: {scheme.name: scheme.stored_bytes(each.shape) for scheme in schemes[each.name]}
        for each in weights
        if each.is_matrix
    }
    whole = sum(max(sizes.values()) for sizes in stored.values())
    return {
        name: {scheme: (max(sizes.values()) - size) / whole for scheme, size in sizes.items()}
        for name, sizes in stored.items()
    }


def _most(recipe: Recipe, weights: Iterable[WeightSpec]) -> int:
    assert recipe.budget is not None
    return recipe.budget.most(weights)


def _options(
    weights: Iterable[WeightSpec], schemes: Mapping[str, Sequence[Scheme]], losses: Losses | None
) -> Options:
    return {
        weight.name: [
            Option(
                scheme.name,
                scheme.stored_bytes(weight.shape),
                0.0 if losses is None else losses[weight.name][scheme.name],
            )
            for scheme in schemes[weight.name]
        ]
        for weight in weights
        if weight.is_matrix
    }


def _bits(count: int, weights: Iterable[WeightSpec]) -> float:
    return 8 * count / sum(math.prod(each.shape) for each in weights if each.is_matrix)


def _text(recipe: Recipe, weights: Sequence[WeightSpec], options: Options, choice: Choice) -> str:
    """The recipe as TOML."""
    counts = Counter(option.scheme for option in choice.values())
    few = next((each.name for each in BASES if counts[each.name]), None)
    usual = few or counts.most_common(1)[0][0]
    others = {name: option for name, option in choice.items() if option.scheme != usual}
    parts = [f"description = {_quoted(_description(recipe, weights, options, choice))}"]
    for name, option in others.items():
        parts.append(_rule(name, option.scheme, _reason(option, options[name])))
    lost = math.fsum(option.loss for name, option in choice.items() if name not in others)
    usual_reason = f"More bytes do the least good here: KL {lost:.3g} in {counts[usual]} matrices."
    parts.append(_rule("*", usual, usual_reason))
    integers = any(SCHEMES[option.scheme] != FP16 for option in choice.values())
    if integers and (calibration := recipe.calibration) is not None:
        parts.append(_table("calibration", tokens=calibration.tokens, reason=calibration.reason))
    limit = _limit(recipe.quantisation, total_loss(choice))
    parts.append(_table("limits.quantisation", **asdict(limit)))
    if (how := recipe.equalization) is not None:
        parts.append(_table("equalization", **asdict(how)))
    return "\n\n".join(parts) + "\n"


def _description(recipe: Recipe, weights: Sequence[WeightSpec], options: Options, choice: Choice) -> str:
    assert recipe.budget is not None
    counts = Counter(option.scheme for option in choice.values())
    taken = total_bytes(choice)
    said = ", ".join(f"{counts[each.name]} {each.name}" for each in CANDIDATES if counts[each.name])
    beside = recipe.budget.beside
    tower = f", its towers' {beside:,} bytes among them" if beside else ""
    found = (
        f"Schemes chosen within {recipe.budget.asked}{tower}, to the least predicted loss: {said} "
        f"matrices, {taken:,} bytes, {_bits(taken, weights):.3f} bits a weight; KL "
        f"{total_loss(choice):.3g} predicted, the sum of what each matrix alone costs."
    )
    if all(choice[name].loss == min(each.loss for each in some) for name, some in options.items()):
        return f"{found} The budget holds the best of everything: nothing had to be given up."
    return found


def _reason(option: Option, some: Sequence[Option]) -> str:
    """What was bought, or saved, against the scheme of few bits."""
    usual = base(SCHEMES[each.scheme] for each in some)
    plain = next((each for each in some if usual is not None and each.scheme == usual.name), None)
    if plain is None or plain.scheme == option.scheme:
        return f"KL {option.loss:.2g} at {option.scheme}, {_size(option.bytes)}."
    apart = option.bytes - plain.bytes
    bought = f"for {_size(apart)}" if apart >= 0 else f"and {_size(-apart)} saved"
    return f"KL {plain.loss:.2g} at {plain.scheme}, {option.loss:.2g} at {option.scheme} {bought}."


def _size(count: int) -> str:
    return f"{count:,} bytes" if count < 10_000 else f"{count / 1e6:.2f} MB"


def _limit(most: QualityLimit, predicted: float) -> QualityLimit:
    mean_kl = min(most.mean_kl, round(MARGIN * predicted + ALLOWANCE, 4))
    reason = (
        f"KL {predicted:.3g} is predicted; {MARGIN:g} times that and {ALLOWANCE:g} are allowed, and never "
        f"more than {most.mean_kl:g}."
    )
    return replace(most, mean_kl=mean_kl, reason=reason)


def _rule(match: str, scheme: str, reason: str) -> str:
    method = "" if SCHEMES[scheme] == FP16 else 'method = "error-feedback"\n'
    return (
        f"[[rule]]\nmatch = [{_quoted(match)}]\nscheme = {_quoted(scheme)}\n{method}"
        f"reason = {_quoted(reason)}"
    )


def _table(name: str, **entries: float | str | None) -> str:
    lines = (
        f"{key} = {_quoted(value) if isinstance(value, str) else repr(value)}"
        for key, value in entries.items()
        if value is not None
    )
    return "\n".join([f"[{name}]", *lines])


def _quoted(text: str) -> str:
    """As a TOML basic string, whose escapes are JSON's."""
    return json.dumps(text, ensure_ascii=False)
