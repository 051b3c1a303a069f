"""`nearest_fit`: what can be asked for by name where nothing fits a target within its gates.

    (1) the recipes there are, and contexts down to the shortest
    (2) where none of them fits, the same with fewer soft tokens of an image, without sounds, without images
    (3) and each of these as a mix of schemes, of the largest budget that fits

More positions, bytes or soft tokens never take less of a device: where the least of some components does
not fit, no more of them is tried. Fewer components may: a browser's files are others without a tower.

Not about what is said of it (`exporter.planning.nearest_fit`).
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from itertools import chain

from exporter.errors import PlanError, ProfileError, RecipeError
from exporter.models.components import towers_of
from exporter.models.vision.spec import SOFT_TOKENS, SiglipSpec
from exporter.planning.budget import MIXED, in_short, step_of
from exporter.planning.candidates import AskedFor, Candidate, nearby
from exporter.planning.mixed_recipe import range_of
from exporter.planning.nearest_fit import NearestFit, nearest_of
from exporter.planning.optional_formats import settled
from exporter.planning.recipe import load_recipe
from exporter.planning.served_together import named
from exporter.planning.trials import Trial, Trials
from runtimes.manifest import ComponentName

WITHOUT: dict[tuple[ComponentName, ...], str] = {
    ("text", "vision"): "without sounds",
    ("text", "audio"): "without images",
    ("text",): "text alone",
}
"""What is left of a model, the most first, and what that is called."""


@dataclass(frozen=True)
class _Part:
    """What is asked for of a model. words: in what that is less than all, flags: that ask for it; empty
    where it is all."""

    trials: Trials
    trial: Trial
    words: str = ""
    flags: str = ""


def nearest_fit(trials: Trials, trial: Trial, asked: AskedFor) -> NearestFit | None:
    """The first that fits; where none does, the smallest that was tried, and by what it does not. None
    where nothing at all can be made."""
    whole = _Part(trials, trial)
    # (1)
    found = nearest_of(_recipes(whole, asked))
    if found is not None and not found.misses:
        return found
    # (2) and (3): of more components what fits before what only fewer do
    parts = (whole, *_fewer_components(whole, asked))
    return nearest_of(chain.from_iterable(_of_components(each, asked) for each in parts))


def _of_components(part: _Part, asked: AskedFor) -> Iterator[NearestFit]:
    *more, last = (part, *_fewer_tokens(part))
    mixed = _smallest_mix(last, asked)
    least = [*_shortest(last, asked), *(() if mixed is None else (mixed.fit,))]
    if all(each.misses for each in least):
        yield from least
        return
    for each in (*more, last):
        yield from _recipes(each, asked)
        yield from _mixes(each, asked)


def _fewer_tokens(part: _Part) -> Iterator[_Part]:
    """The most first; none where a tower makes the same number of every image."""
    tower, usual = part.trials.model.components.vision, part.trial.soft_tokens
    if tower is None or usual is None or isinstance(tower.spec, SiglipSpec):
        return
    for fewer in sorted((each for each in SOFT_TOKENS if each < usual), reverse=True):
        words = f"images of at most {fewer} soft tokens"
        yield replace(
            part,
            trial=replace(part.trial, soft_tokens=fewer),
            words=f"{part.words}, {words}" if part.words else words,
            flags=f"{part.flags} --image-tokens {fewer}",
        )


def _fewer_components(whole: _Part, asked: AskedFor) -> Iterator[_Part]:
    there = set(whole.trials.model.components)
    for kept, words in WITHOUT.items():
        if set(kept) < there:
            trial, flags = whole.trial, f" --components {','.join(kept)}"
            if "vision" not in kept:
                trial = replace(trial, soft_tokens=None)
                flags += "" if asked.image_tokens is None else " without --image-tokens"
            yield _Part(whole.trials.having(kept), trial, words, flags)


def _recipes(part: _Part, asked: AskedFor) -> Iterator[NearestFit]:
    shortest = _shortest(part, asked)
    if shortest and all(each.misses for each in shortest):
        yield from shortest
        return
    for candidate in _nearby(part, asked):
        if (found := _fit(part, asked, candidate)) is not None:
            yield found


def _shortest(part: _Part, asked: AskedFor) -> list[NearestFit]:
    """Of the fewest positions with which any recipe can be made."""
    every = _nearby(part, asked)
    for context in sorted({each.context for each in every}):
        tried = (_fit(part, asked, each) for each in every if each.context == context)
        if found := [each for each in tried if each is not None]:
            return found
    return []


def _nearby(part: _Part, asked: AskedFor) -> list[Candidate]:
    return list(nearby(part.trial.target, asked, part.trials.model.spec.context_length))


@dataclass(frozen=True)
class _Mixed:
    """The smallest mix there is. least, most: bytes of the smallest budget and of the largest."""

    fit: NearestFit
    least: int
    most: int


def _smallest_mix(part: _Part, asked: AskedFor, positions: int = 0) -> _Mixed | None:
    """With the fewest positions that it can be made with, from so many on; None where there is none."""
    every = [each for each in _nearby(part, asked) if each.context >= positions]
    for context in sorted({each.context for each in every}):
        try:
            families = part.trials.families(part.trial, Candidate(load_recipe("int4"), context))
            components = part.trials.model.components
            least, most = range_of(components["text"].weights, families, towers_of(components))
        except (PlanError, RecipeError):
            return None
        if (found := _fit(part, asked, _mix(least, context))) is not None:
            return _Mixed(found, least, most)
    return None


def _mixes(part: _Part, asked: AskedFor) -> Iterator[NearestFit]:
    """The largest that fits with the positions that the gates want, and with the fewest; where none does,
    the smallest there is."""
    wanted = max(profile.gates.context for profile in part.trial.target.profiles)
    for positions in (wanted, 0):
        if (mixed := _smallest_mix(part, asked, positions)) is not None:
            certain = not (mixed.fit.misses or mixed.fit.doubts)
            yield _largest(part, asked, mixed) if certain else mixed.fit


def _largest(part: _Part, asked: AskedFor, mixed: _Mixed) -> NearestFit:
    """By halves, from the smallest, which fits."""
    step, found = step_of(mixed.least), mixed.fit
    low, high = 0, (mixed.most - mixed.least) // step + 1
    while high - low > 1:
        middle = (low + high) // 2
        tried = _fit(part, asked, _mix(mixed.least + middle * step, found.context))
        if tried is None or tried.misses or tried.doubts:
            high = middle
        else:
            low, found = middle, tried
    return found


def _mix(size: int, context: int) -> Candidate:
    return Candidate(load_recipe(f"{MIXED}{in_short(size)}"), context)


def _fit(part: _Part, asked: AskedFor, candidate: Candidate) -> NearestFit | None:
    """What would come of asking for it; None where it cannot be made."""
    trials, trial, recipe = part.trials, part.trial, candidate.recipe
    try:
        trial, made = settled(trials, trial, replace(asked, recipe=recipe), candidate)
    except (PlanError, ProfileError, RecipeError):
        return None
    misses = trials.misses(trial, candidate, made, forced=True)
    known = recipe == asked.recipe
    all_said = misses if known else trials.misses(trial, candidate, made, forced=False)
    below = {
        name: tuple(each for each in clauses if each not in misses.get(name, ()))
        for name, clauses in all_said.items()
    }
    name = recipe.name if recipe.budget is None else f"{MIXED}{recipe.budget.asked}"
    flags = "" if known else f"--recipe {name} "
    return NearestFit(
        recipe=name,
        context=candidate.context,
        of=part.words,
        asking=f"{flags}--context {candidate.context}{part.flags}",
        below=named(trial.target, below),
        misses=named(trial.target, misses),
        doubts=() if misses else named(trial.target, trials.doubts(trial, made)),
        share=trial.share(made),
        weight_bytes=sum(trials.sized(plan).weight_bytes for plan in made.plans),
        measured_later=recipe.budget is not None,
    )
