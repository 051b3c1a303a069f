"""`DeviceProfile`: what is known of a device, and what a release must keep to be one for it.

Every fact names its source, and says whether that was read. Gates are the profile's own. Not about
finding and reading the files (`exporter.planning.profiles`).
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Literal

from exporter.formats.held_memory import Metric
from exporter.formats.table import facts_of, family_of
from exporter.models.vision.spec import SOFT_TOKENS
from exporter.planning.fidelity import FidelityClass
from exporter.planning.folder_names import EXPECTED, folder_name, is_folder_name
from exporter.planning.recipe import recipe_names
from runtimes.excerpt import excerpt
from runtimes.formats import Accelerator, Format
from runtimes.records import RecordError

DeviceKind = Literal["android", "ios", "macos", "desktop", "web"]

Status = Literal["sourced", "unverified"]
"""sourced: the named source was read. unverified: from memory or a rule of thumb, to be measured."""

# The order recipes are tried in for a device of a kind, the best quality first. LiteRT has no zero points.
RECIPES_OF_KIND: dict[DeviceKind, tuple[str, ...]] = {
    "android": ("int8", "int4"),
    "ios": ("int8", "int4-zp", "int4"),
    "macos": ("int8", "int4-zp", "int4"),
    "desktop": ("int8", "int4-zp", "int4"),
    "web": ("int8", "int4-zp", "int4"),
}


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
class BlockwiseFact:
    """kernels: whether the runtime multiplies by codes in groups there."""

    kernels: bool
    status: Status
    source: str


@dataclass(frozen=True)
class DeviceRuntime:
    """What runs one format there. accelerator: what of the device, with where that comes from."""

    accelerator: Accelerator
    status: Status
    source: str
    blockwise: BlockwiseFact


@dataclass(frozen=True)
class DeviceGates:
    """What a release for the device must keep.

    fidelity: a recipe's class at least. formats: those that must be there and fit; the others are made
    where they fit. context: positions at least, where fewer than asked for have to do. artifact_bytes: of
    each format on disk at most. memory_bytes: at the peak at most, where that is less than an app may use.
    """

    fidelity: FidelityClass
    formats: tuple[Format, ...]
    context: int
    artifact_bytes: int | None
    memory_bytes: int | None


@dataclass(frozen=True)
class DeviceProfile:
    """One device, or the sensible default of one kind of device.

    context: positions of the KV cache unless told otherwise. recipes: in the order they are tried; None
    for that of its kind. runtimes: by the format an export for it writes. bandwidth: None where nobody
    knows. largest_buffer: what its GPU takes at once, None where nobody knows. largest_file: of those that
    are read whole there, None where there is no such limit. image_tokens: of an image at most, where a
    model leaves that open; None for what its processor usually makes.
    """

    name: str
    title: str
    kind: DeviceKind
    context: int
    recipes: tuple[str, ...] | None
    gates: DeviceGates
    runtimes: dict[Format, DeviceRuntime]
    memory: Memory
    bandwidth: Bandwidth | None
    largest_buffer: MemoryFact | None
    largest_file: MemoryFact | None = None
    image_tokens: int | None = None

    @property
    def formats(self) -> tuple[Format, ...]:
        """In the order of the file: the one it is mostly for first."""
        return tuple(self.runtimes)

    @property
    def accelerators(self) -> Mapping[Format, Accelerator]:
        return {format: runtime.accelerator for format, runtime in self.runtimes.items()}

    @property
    def recipe_order(self) -> tuple[str, ...]:
        """Names of recipes, in the order they are tried."""
        return RECIPES_OF_KIND[self.kind] if self.recipes is None else self.recipes

    @property
    def budget(self) -> int:
        """Bytes a release may take without an entitlement."""
        return min(self.memory.app.bytes, self.gates.memory_bytes or self.memory.app.bytes)

    @property
    def budget_with_entitlement(self) -> int | None:
        entitled = self.memory.app_with_entitlement
        if entitled is None:
            return None
        return min(entitled.bytes, self.gates.memory_bytes or entitled.bytes)

    @property
    def most_allowed(self) -> int:
        """Bytes a release may take, with the entitlement where there is one."""
        return self.budget_with_entitlement or self.budget

    def facts(self) -> Iterator[tuple[str, Status, str]]:
        """Every fact of it that has a source: its key, its status and the source."""
        memory = self.memory
        amounts = {
            "memory.ram": memory.ram,
            "memory.app": memory.app,
            "memory.app_with_entitlement": memory.app_with_entitlement,
            "bandwidth": self.bandwidth,
            "largest_buffer": self.largest_buffer,
            "largest_file": self.largest_file,
        }
        for key, fact in amounts.items():
            if fact is not None:
                yield key, fact.status, fact.source
        for format, runtime in self.runtimes.items():
            yield f"runtimes.{format}", runtime.status, runtime.source
            yield f"runtimes.{format}.blockwise", runtime.blockwise.status, runtime.blockwise.source


def check_profile(profile: DeviceProfile) -> None:
    """Raise RecordError for values that have the right type and cannot be, or contradict each other."""
    if not is_folder_name(profile.name):
        raise RecordError(
            "$.name",
            f"is {excerpt(profile.name)}, and directories of releases are called after it: {EXPECTED}, "
            f"as in {folder_name(profile.name)}, here and in the file's name",
        )
    if not profile.runtimes:
        raise RecordError("$.runtimes", "expected at least one format")
    for key, _, source in profile.facts():
        if not source.strip():
            raise RecordError(f"$.{key}.source", "is empty; say where the figure comes from")
    _require_positive("$.context", profile.context)
    _check_recipes(profile)
    _check_gates(profile)
    _check_memory(profile)
    for format, runtime in profile.runtimes.items():
        _check_runtime(format, runtime)
    if profile.image_tokens is not None and profile.image_tokens not in SOFT_TOKENS:
        expected = ", ".join(map(str, SOFT_TOKENS))
        raise RecordError("$.image_tokens", f"expected one of {expected}, got {profile.image_tokens}")
    if profile.largest_buffer is not None:
        _require_positive("$.largest_buffer.bytes", profile.largest_buffer.bytes)
    if profile.largest_file is not None:
        _check_largest_file(profile, profile.largest_file)
    if profile.bandwidth is not None:
        figure = profile.bandwidth.gigabytes_per_second
        if not (math.isfinite(figure) and figure > 0):
            raise RecordError(
                "$.bandwidth.gigabytes_per_second", f"expected a positive number, got {figure}"
            )


def _check_recipes(profile: DeviceProfile) -> None:
    if profile.recipes is None:
        return
    if not profile.recipes or len(set(profile.recipes)) != len(profile.recipes):
        raise RecordError("$.recipes", "expected at least one recipe, each once")
    for index, name in enumerate(profile.recipes):
        if name not in recipe_names():
            raise RecordError(
                f"$.recipes[{index}]", f"expected one of {', '.join(recipe_names())}, got {name!r}"
            )


def _check_gates(profile: DeviceProfile) -> None:
    gates = profile.gates
    if not gates.formats or len(set(gates.formats)) != len(gates.formats):
        raise RecordError("$.gates.formats", "expected at least one format, each once")
    for format in gates.formats:
        if format not in profile.runtimes:
            raise RecordError("$.gates.formats", f"requires {format}, which is none of $.runtimes")
    _require_positive("$.gates.context", gates.context)
    if gates.context > profile.context:
        raise RecordError("$.gates.context", f"is more than the device's context of {profile.context}")
    for key, count in (("artifact_bytes", gates.artifact_bytes), ("memory_bytes", gates.memory_bytes)):
        if count is not None:
            _require_positive(f"$.gates.{key}", count)


def _check_memory(profile: DeviceProfile) -> None:
    memory = profile.memory
    amounts = {"ram": memory.ram, "app": memory.app, "app_with_entitlement": memory.app_with_entitlement}
    for key, fact in amounts.items():
        if fact is None:
            continue
        _require_positive(f"$.memory.{key}.bytes", fact.bytes)
        if memory.ram is not None and fact.bytes > memory.ram.bytes:
            raise RecordError(f"$.memory.{key}.bytes", "is more than the device's ram")
    entitled = memory.app_with_entitlement
    if entitled is not None and entitled.bytes < memory.app.bytes:
        raise RecordError("$.memory.app_with_entitlement.bytes", "is less than without the entitlement")
    if memory.metric == "gpu_memory" and set(profile.accelerators.values()) != {"GPU"}:
        raise RecordError("$.memory.metric", "counts a GPU's memory, and a format is meant for another")


def _check_largest_file(profile: DeviceProfile, limit: MemoryFact) -> None:
    _require_positive("$.largest_file.bytes", limit.bytes)
    if not any(facts_of(each).read_whole for each in profile.formats):
        raise RecordError(
            "$.largest_file", f"counts for none of {', '.join(profile.formats)}: none is read whole"
        )


def _check_runtime(format: Format, runtime: DeviceRuntime) -> None:
    family = family_of(format)
    if runtime.accelerator not in family.accelerators:
        raise RecordError(
            f"$.runtimes.{format}.accelerator",
            f"is {runtime.accelerator}, and what {family.title} is given here runs on "
            f"{' or '.join(family.accelerators)}",
        )
    refused = family.accelerators[runtime.accelerator]
    if runtime.blockwise.kernels and refused.why is not None:
        raise RecordError(
            f"$.runtimes.{format}.blockwise.kernels",
            f"is true, and on a {runtime.accelerator} {refused.why}",
        )


def _require_positive(at: str, count: int) -> None:
    if count < 1:
        raise RecordError(at, f"expected a positive integer, got {count}")
