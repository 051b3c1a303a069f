"""`settled`: a candidate in the formats that it would be made in, those that no device requires among them
where they fit.

Formats share a recipe's codes, and an accelerator that takes no groups takes them from all: what is made
without such a format is larger, so that it is held against the gates as it will be made.
Not about which candidate is made (`exporter.planning.planner`).
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import replace

from exporter.planning.candidates import AskedFor, Candidate
from exporter.planning.device_notes import notes_on_left_out, with_notes
from exporter.planning.lowered_schemes import lowered_schemes
from exporter.planning.trials import Made, Trial, Trials
from runtimes.formats import Format


def settled(trials: Trials, trial: Trial, asked: AskedFor, candidate: Candidate) -> tuple[Trial, Made]:
    """Formats that no device requires and none certainly has room for are left out, with why, and where the
    devices decide those for which what is required would be made of less than the recipe promises. Where
    what is required has no room either way, it stays as it was asked for: all of its formats are shown.
    Raises PlanError and RecipeError where it cannot be made."""
    made = trials.made(trial, candidate)
    if asked.formats:
        return trial, made
    whole = trial, made
    if asked.recipe is None:
        trial, made = _as_promised(trials, trial, candidate, made)
    rest, found = trial, made
    while (kept := _kept(rest, found)) != rest:
        rest, found = kept, _without(trials, kept, candidate, found)
    if not trials.misses(rest, candidate, found, forced=True):
        return rest, found
    return whole if trials.misses(whole[0], candidate, whole[1], forced=True) else (rest, found)


def _as_promised(trials: Trials, trial: Trial, candidate: Candidate, made: Made) -> tuple[Trial, Made]:
    """Without formats that no device requires and whose accelerators take no groups, where what is required
    has groups then."""
    required = {format for _, format in trial.required()}
    lowered = _lowered(trials, made, required)
    if lowered is None or required >= set(trial.formats):
        return trial, made
    there = set(required)
    for format in trial.formats:
        tried = trials.made(_of(trial, {*required, format}), candidate)
        if _lowered(trials, tried, required) is None:
            there.add(format)
    rest = _of(trial, there)
    found = trials.made(rest, candidate)
    if _lowered(trials, found, required) is not None:
        return trial, made
    others = [format for format in trial.formats if format not in there]
    why = {(each.name, format): (lowered,) for each in trial.target.profiles for format in each.runtimes}
    notes = notes_on_left_out(trial.target, others, why)
    return rest, replace(found, plans=with_notes(trial.target, found.plans, notes))


def _lowered(trials: Trials, made: Made, required: Collection[Format]) -> str | None:
    """By what the required formats keep less than the recipe promises, a clause."""
    plans = (each for each in made.plans if set(each.variant.formats) & set(required))
    clauses = (lowered_schemes(trials.model.spec, each) for each in plans)
    return next((clause for clause in clauses if clause is not None), None)


def _of(trial: Trial, formats: Collection[Format]) -> Trial:
    return replace(trial, formats=tuple(each for each in trial.formats if each in formats))


def _kept(trial: Trial, made: Made) -> Trial:
    """Without formats that no device requires and none certainly has room for."""
    required = {format for _, format in trial.required()}
    fitting = {key[1] for key, clauses in made.missed.items() if not (clauses or made.doubts[key])}
    return _of(trial, required | fitting)


def _without(trials: Trials, kept: Trial, candidate: Candidate, made: Made) -> Made:
    """The candidate in fewer formats, with what speaks against the others as it was made."""
    found, why = trials.made(kept, candidate), {**made.missed}
    why |= {key: (doubt,) for key, doubt in made.doubts.items() if doubt is not None and not why[key]}
    every = [format for plan in made.plans for format in plan.variant.formats]
    others = [format for format in every if format not in kept.formats]
    notes = notes_on_left_out(kept.target, others, why)
    for plan in made.plans:  # of what was left out before
        notes = {name: (*plan.variant.notes.get(name, ()), *said) for name, said in notes.items()}
    return replace(found, plans=with_notes(kept.target, found.plans, notes))
