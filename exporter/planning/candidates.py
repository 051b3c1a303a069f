"""`Candidate`: a recipe and a context that may be made for a target, and the order in which they compete.

The best quality first: recipes in the profiles' order, then the same with fewer positions. Not about which
of them fits (`exporter.planning.planner`).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import get_args

from exporter.planning.device_profile import DeviceProfile
from exporter.planning.fidelity import fidelity_of, is_below
from exporter.planning.profiles import Target
from exporter.planning.recipe import Recipe, load_recipe
from runtimes.formats import FORMATS, Accelerator, Format
from runtimes.manifest import ComponentName

SMALLEST = ("int4",)  # recipes beyond a profile's own, for saying what would fit
FAITHFUL = ("float", "int8")  # the same, where none of its own is as faithful as it asks
SHORTEST = 256  # positions, where what would fit is looked for beyond a profile's own gate


@dataclass(frozen=True)
class AskedFor:
    """What was said of the release, empty where nothing was: then the devices decide. components: None for
    all there are."""

    recipe: Recipe | None = None
    context: int | None = None
    formats: tuple[Format, ...] = ()
    image_tokens: int | None = None
    components: tuple[ComponentName, ...] | None = None


@dataclass(frozen=True)
class Candidate:
    """context: positions as asked for, before a runtime's multiples."""

    recipe: Recipe
    context: int


def competing(target: Target, asked: AskedFor, longest: int) -> Iterator[Candidate]:
    """In the order they compete. longest: positions the model was trained for."""
    least = max(profile.gates.context for profile in target.profiles)
    yield from _each(_recipes(target, asked), _contexts(target, asked, longest, least))


def nearby(target: Target, asked: AskedFor, longest: int) -> Iterator[Candidate]:
    """The same and those that ask for less than the profiles' gates, for saying what would fit: the recipe
    that was asked for before others, and never a longer context than was."""
    wanted = () if asked.recipe is None else (asked.recipe,)
    own = tuple(each for each in _recipes(target, AskedFor()) if each not in wanted)
    known = {each.name for each in (*wanted, *own)}
    faithful = any(not any(below_class(each, recipe) for each in target.profiles) for recipe in own)
    beyond = SMALLEST if faithful else (*FAITHFUL, *SMALLEST)
    others = tuple(load_recipe(name) for name in beyond if name not in known)
    yield from _each((*wanted, *own, *others), _halves(_longest(target, asked, longest), SHORTEST))


def formats_of(target: Target, asked: AskedFor) -> tuple[Format, ...]:
    """What is to be written, in the formats' own order unless asked for otherwise."""
    wanted = {each for profile in target.profiles for each in profile.formats}
    return tuple(dict.fromkeys(asked.formats)) or tuple(each for each in FORMATS if each in wanted)


def required_formats(profile: DeviceProfile, formats: tuple[Format, ...]) -> tuple[Format, ...]:
    """Those of them that must fit on the device: its gate's, or all it has where none of these is made."""
    there = tuple(each for each in formats if each in profile.runtimes)
    return tuple(each for each in there if each in profile.gates.formats) or there


def soft_tokens_of(target: Target, asked: AskedFor, usual: int | None) -> int | None:
    """Of an image at most: as asked for, else the most modest device's, else as usual. usual: what the
    model's processor makes of one, None for text alone."""
    if asked.image_tokens is not None or usual is None:
        return asked.image_tokens
    modest = [each.image_tokens for each in target.profiles if each.image_tokens is not None]
    return min(modest, default=usual)


def accelerators_of(profiles: tuple[DeviceProfile, ...]) -> Mapping[Format, Accelerator]:
    """For each format the most particular one: a CPU takes what is meant for any of them, so that one
    artifact serves all."""
    order: tuple[Accelerator, ...] = get_args(Accelerator)
    meant: dict[Format, Accelerator] = {}
    for profile in profiles:
        for format, accelerator in profile.accelerators.items():
            meant[format] = max(accelerator, meant.get(format, accelerator), key=order.index)
    return meant


def below_class(profile: DeviceProfile, recipe: Recipe) -> str | None:
    """Why a recipe promises less than a device asks for, a clause; None where it does not."""
    asked, found = profile.gates.fidelity, fidelity_of(recipe)
    if not is_below(found, asked):
        return None
    return (
        f"{recipe.name} is {found}, as it may cost {recipe.quantisation.mean_kl:g} nats, and {asked} or "
        "better is asked for"
    )


def _each(recipes: tuple[Recipe, ...], contexts: tuple[int, ...]) -> Iterator[Candidate]:
    for context in contexts:
        for recipe in recipes:
            yield Candidate(recipe, context)


def _recipes(target: Target, asked: AskedFor) -> tuple[Recipe, ...]:
    """One that all devices of the target have, in the order of the first."""
    if asked.recipe is not None:
        return (asked.recipe,)
    first, *others = (profile.recipe_order for profile in target.profiles)
    return tuple(load_recipe(name) for name in first if all(name in order for order in others))


def _contexts(target: Target, asked: AskedFor, longest: int, least: int) -> tuple[int, ...]:
    """What was asked for alone, else the most modest device's and halves of it."""
    if asked.context is not None:
        return (asked.context,)
    return _halves(_longest(target, asked, longest), least)


def _longest(target: Target, asked: AskedFor, longest: int) -> int:
    wanted = (profile.context for profile in target.profiles)
    return min(longest, *(wanted if asked.context is None else (asked.context,)))


def _halves(context: int, least: int) -> tuple[int, ...]:
    found = [context]
    while context // 2 >= least:
        context //= 2
        found.append(context)
    return tuple(found)
