"""`DeviceProfile`: what is known of a device, read strictly from `device_profiles/*.toml`.

Every fact names its source. Not about what a model needs of a device (`exporter.planning.estimates`).
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, get_args

from exporter.errors import ProfileError
from exporter.planning.strict_toml import parse_toml, read_toml_text
from exporter.resources import data_directory
from runtimes.formats import FORMATS, Accelerator, Format
from runtimes.records import RecordError, from_plain

DeviceKind = Literal["android", "ios", "macos", "desktop", "web"]

Metric = Literal["ru_maxrss", "phys_footprint", "gpu_memory", "wasm_memory"]
"""How a device counts an app's memory; figures of different metrics are not comparable.

ru_maxrss: resident pages, mapped files included (Android, Linux). phys_footprint: dirty and
compressed pages, clean mapped ones excluded (Apple). gpu_memory: allocations on the device.
wasm_memory: the linear memory of a WebAssembly module.
"""

Status = Literal["sourced", "unverified"]
"""sourced: the named source was read. unverified: from memory or a rule of thumb, to be measured."""

TARGETS: dict[str, tuple[str, ...]] = {
    "android": ("default-android",),
    "ios": ("default-ios",),
    "macos": ("default-macos",),
    "desktop": ("default-desktop",),
    "web": ("default-web",),
    "all": ("default-android", "default-ios", "default-macos", "default-desktop", "default-web"),
}
"""What `--target` means: names of the profiles that are served together."""


@dataclass(frozen=True)
class MemoryFact:
    """An amount of memory in bytes, with where the figure comes from."""

    bytes: int
    status: Status
    source: str


@dataclass(frozen=True)
class Memory:
    """ram: what is built in. app: what one app may use, counted by `metric`.

    app_with_entitlement: on Apple systems, with increased-memory-limit granted: a request, not a
    guarantee. None where there is no such thing or no figure is known.
    """

    metric: Metric
    ram: MemoryFact | None
    app: MemoryFact
    app_with_entitlement: MemoryFact | None


@dataclass(frozen=True)
class Bandwidth:
    """Memory read bandwidth, 10^9 bytes per second."""

    gigabytes_per_second: float
    status: Status
    source: str


@dataclass(frozen=True)
class Accelerators:
    """What of a device each of its formats is meant for, with where that comes from."""

    by_format: dict[Format, Accelerator]
    status: Status
    source: str


@dataclass(frozen=True)
class DeviceProfile:
    """One device, or the sensible default of one kind of device.

    formats: what an export for it writes. recipe: how weights are quantised unless told otherwise.
    context: positions of the KV cache unless told otherwise. bandwidth: None where nobody knows.
    largest_buffer: what its GPU takes at once, None where nobody knows.
    """

    name: str
    title: str
    kind: DeviceKind
    formats: tuple[Format, ...]
    recipe: str
    context: int
    memory: Memory
    bandwidth: Bandwidth | None
    accelerators: Accelerators
    largest_buffer: MemoryFact | None


@dataclass(frozen=True)
class Target:
    """What `--target NAME` asks for: its profiles' formats together, the most modest context, and for each
    format the most particular accelerator."""

    name: str
    profiles: tuple[DeviceProfile, ...]
    formats: tuple[Format, ...]
    recipe: str
    context: int
    accelerators: Mapping[Format, Accelerator]


def profile_names(directory: Path | None = None) -> tuple[str, ...]:
    """Names of the profiles that are there, sorted."""
    return tuple(
        sorted(path.stem for path in (directory or data_directory("device_profiles")).glob("*.toml"))
    )


def load_profile(name: str, directory: Path | None = None) -> DeviceProfile:
    """The profile of this name, from `directory` or the ones that come with the project.

    Raises ProfileError for a name that is not there and for a file that is not a profile.
    """
    directory = directory or data_directory("device_profiles")
    names = profile_names(directory)
    if name not in names:
        raise ProfileError(
            f"profile {name!r}",
            f"there is no {directory.name}/{name}.toml",
            f"use one of {', '.join(names)}",
        )
    return read_profile(directory / f"{name}.toml")


def load_target(name: str, directory: Path | None = None) -> Target:
    """The target of this name.

    Raises ProfileError for an unknown name, and where its profiles do not agree on a recipe.
    """
    if name not in TARGETS:
        raise ProfileError(
            f"--target {name}", "there is no such target", f"use one of {', '.join(TARGETS)}"
        )
    profiles = tuple(load_profile(each, directory) for each in TARGETS[name])
    recipes = sorted({profile.recipe for profile in profiles})
    if len(recipes) != 1:
        raise ProfileError(
            f"--target {name}",
            f"its profiles ask for recipes {', '.join(recipes)}",
            "name one with --recipe",
        )
    wanted = {each for profile in profiles for each in profile.formats}
    return Target(
        name=name,
        profiles=profiles,
        formats=tuple(each for each in FORMATS if each in wanted),
        recipe=recipes[0],
        context=min(profile.context for profile in profiles),
        accelerators=_most_particular(profiles),
    )


def load_device(name: str, directory: Path | None = None) -> Target:
    """One device alone as a target, as `--profile` asks for. Raises ProfileError."""
    profile = load_profile(name, directory)
    formats = tuple(each for each in FORMATS if each in profile.formats)
    return Target(
        name, (profile,), formats, profile.recipe, profile.context, profile.accelerators.by_format
    )


def _most_particular(profiles: tuple[DeviceProfile, ...]) -> dict[Format, Accelerator]:
    """A CPU takes what is meant for any of them, so that one artifact serves all."""
    order: tuple[Accelerator, ...] = get_args(Accelerator)
    meant: dict[Format, Accelerator] = {}
    for profile in profiles:
        for format, accelerator in profile.accelerators.by_format.items():
            meant[format] = max(accelerator, meant.get(format, accelerator), key=order.index)
    return meant


def read_profile(path: Path) -> DeviceProfile:
    """Read one profile file. Raises ProfileError with the path of the key at fault."""
    where = f"{path.parent.name}/{path.name}"
    try:
        raw = parse_toml(read_toml_text(path))
    except (OSError, ValueError) as error:
        raise ProfileError(where, f"cannot be read as TOML ({error})", "correct the file") from error
    try:
        profile = from_plain(DeviceProfile, raw, absent_is_none=True)
        _check(profile, path)
    except RecordError as error:
        raise ProfileError(f"{where}: {error.at}", error.what, "correct the profile") from error
    return profile


def _check(profile: DeviceProfile, path: Path) -> None:
    """Values that have the right type and cannot be."""
    if profile.name != path.stem:
        raise RecordError("$.name", f"is {profile.name!r} and the file is called {path.stem!r}")
    if not profile.formats or len(set(profile.formats)) != len(profile.formats):
        raise RecordError("$.formats", "expected at least one format, each once")
    if not profile.recipe:
        raise RecordError("$.recipe", "is empty")
    if profile.context < 1:
        raise RecordError("$.context", f"expected a positive integer, got {profile.context}")
    if set(profile.accelerators.by_format) != set(profile.formats):
        raise RecordError("$.accelerators.by_format", "expected one accelerator for each of the formats")
    _check_source("$.accelerators", profile.accelerators.source)
    if (largest := profile.largest_buffer) is not None:
        if largest.bytes < 1:
            raise RecordError("$.largest_buffer.bytes", f"expected a positive integer, got {largest.bytes}")
        _check_source("$.largest_buffer", largest.source)
    memory = profile.memory
    amounts = {"ram": memory.ram, "app": memory.app, "app_with_entitlement": memory.app_with_entitlement}
    for key, fact in amounts.items():
        if fact is None:
            continue
        if fact.bytes < 1:
            raise RecordError(f"$.memory.{key}.bytes", f"expected a positive integer, got {fact.bytes}")
        if memory.ram is not None and fact.bytes > memory.ram.bytes:
            raise RecordError(f"$.memory.{key}.bytes", "is more than the device's ram")
        _check_source(f"$.memory.{key}", fact.source)
    if profile.bandwidth is not None:
        figure = profile.bandwidth.gigabytes_per_second
        if not (math.isfinite(figure) and figure > 0):
            raise RecordError(
                "$.bandwidth.gigabytes_per_second", f"expected a positive number, got {figure}"
            )
        _check_source("$.bandwidth", profile.bandwidth.source)


def _check_source(at: str, source: str) -> None:
    if not source.strip():
        raise RecordError(f"{at}.source", "is empty; say where the figure comes from")
