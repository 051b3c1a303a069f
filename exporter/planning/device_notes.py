"""`with_notes`: plans that say of a device what planning found and their artifacts do not show.

Which formats were left out, and why. Not about what several devices have to do with each other
(`exporter.planning.served_together`), nor about verdicts (`exporter.planning.judging`).
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import replace

from exporter.planning.plan import Plan
from exporter.planning.profiles import Target
from runtimes.formats import Format

Notes = Mapping[str, Sequence[str]]
"""Sentences by a device's name."""


def with_notes(target: Target, plans: Sequence[Plan], notes: Notes) -> tuple[Plan, ...]:
    """The plans, with what is to be said of each device in the first that it runs a format of."""
    found = [dict(each.variant.notes) for each in plans]
    for profile in target.profiles:
        for plan, own in zip(plans, found, strict=True):
            if set(plan.variant.formats) & set(profile.runtimes):
                own[profile.name] = (*own.get(profile.name, ()), *notes.get(profile.name, ()))
                break
    return tuple(
        replace(
            plan, variant=replace(plan.variant, notes={name: said for name, said in own.items() if said})
        )
        for plan, own in zip(plans, found, strict=True)
    )


def notes_on_left_out(
    target: Target, formats: Collection[Format], why: Mapping[tuple[str, Format], Sequence[str]]
) -> dict[str, tuple[str, ...]]:
    """Of formats that were to be made and are not. why: by device and format the clauses that speak against
    it, as it would have been made."""
    return {profile.name: tuple(_without(profile.name, formats, why)) for profile in target.profiles}


def _without(
    device: str, formats: Collection[Format], why: Mapping[tuple[str, Format], Sequence[str]]
) -> Iterator[str]:
    for format in formats:
        if clauses := why.get((device, format)):
            yield f"Without {format}: {'; '.join(clauses)}."
