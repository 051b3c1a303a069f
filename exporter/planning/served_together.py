"""`named`, `alone_notes`: what is said of a target's devices where one recipe and context serve them all.

Which of them a reason is about, and what one of them would get by itself. Not about planning either
(`exporter.planning.planner`).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from exporter.listing import listed
from exporter.planning.plan import Plan
from exporter.planning.profiles import Target

ByDevice = Mapping[str, tuple[str, ...]]
"""Clauses by a device's name."""


@dataclass(frozen=True)
class Rejected:
    """A candidate that was better by order, or that may fit less likely. why: clauses, the first of them
    enough; of several devices with the name of each. devices: those that it is out for."""

    recipe: str
    context: int
    why: tuple[str, ...]
    devices: tuple[str, ...]


@dataclass(frozen=True)
class Alone:
    """What one device of a target would get by itself."""

    recipe: str
    context: int

    @property
    def words(self) -> str:
        return f"{self.recipe} at {self.context:,}"


def named(target: Target, found: ByDevice) -> tuple[str, ...]:
    """Clauses of all devices, each once; where there are several, with whose it is before it."""
    devices: dict[str, list[str]] = {}
    for name, clauses in found.items():
        for clause in clauses:
            devices.setdefault(clause, []).append(name)
    if len(target.profiles) == 1:
        return tuple(devices)
    return tuple(f"for {listed(names)}: {clause}" for clause, names in devices.items())


def alone_notes(
    target: Target, made: Plan, rejected: Sequence[Rejected], alone: Mapping[str, Alone]
) -> dict[str, tuple[str, ...]]:
    """By device a sentence on what it would get alone, and which device is why it does not."""
    sentences = {name: _why_not(target, made, rejected, name, each) for name, each in alone.items()}
    return {name: (sentence,) for name, sentence in sentences.items() if sentence is not None}


def _why_not(
    target: Target, made: Plan, rejected: Sequence[Rejected], name: str, alone: Alone
) -> str | None:
    """None where the device gets the same anyway, or what it gets is no less."""
    if (alone.recipe, alone.context) == (made.variant.recipe.name, made.asked_context):
        return None
    why = next(_forcing(target, rejected, name, alone), None)
    if why is None:
        return None
    return (
        f"Alone (--profile {name}) it would get {alone.words}: one recipe and context serve the whole "
        f"target {target.name}, and {why}."
    )


def _forcing(target: Target, rejected: Sequence[Rejected], name: str, alone: Alone) -> Iterator[str]:
    """Which of the other devices is why, a clause each."""
    for each in rejected:
        if name not in each.devices:
            yield f"{each.recipe} at {each.context:,} is ruled out by {listed(each.devices)}"
    if fewer := [each.name for each in target.profiles if each.context < alone.context]:
        yield f"no more positions are asked for by {listed(fewer)}"
    if others := [each.name for each in target.profiles if alone.recipe not in each.recipe_order]:
        yield f"{alone.recipe} is no recipe of {listed(others)}"
