"""What one artifact takes of one device: bytes on disk, memory by component, decode speed; and what of its
gates it misses.

Predicted, whether before an export, from shapes, or after it, with the sizes of what was written. Not about
choosing between recipes (`exporter.planning.planner`).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from exporter.byte_size import in_one_unit
from exporter.formats.family import RuntimeFamily
from exporter.formats.held_memory import HeldMemory, OpenedModel, counted
from exporter.formats.table import facts_of, family_of, takes_images, takes_sounds
from exporter.models.text.spec import ModelSpec
from exporter.planning.decode_speed import decode_speed, weight_bytes_per_token
from exporter.planning.device_profile import DeviceProfile, MemoryFact
from exporter.planning.device_verdict import ArtifactOnDevice
from exporter.planning.estimates import CacheSize, TowerSize, cache_size
from exporter.planning.plan import Plan
from exporter.planning.prediction_error import PRESUMED, prediction_error
from exporter.schemes import IntegerScheme
from runtimes.formats import Accelerator, Format
from runtimes.manifest import TowerName


@dataclass(frozen=True)
class WrittenSizes:
    """text_bytes: of the tokenizer's file. artifacts: format to bytes of what was written, files: to those
    of each of its files, by name; none before."""

    text_bytes: int
    artifacts: Mapping[Format, int]
    files: Mapping[Format, Mapping[str, int]] = field(default_factory=dict)


def opened_model(
    spec: ModelSpec, plan: Plan, profile: DeviceProfile, format: Format, text: int
) -> OpenedModel:
    """A plan's artifact as a device's runtime opens it. text: bytes of the tokenizer's file."""
    variant = plan.variant
    return OpenedModel(
        spec=spec,
        schemes=plan.schemes,
        format=format,
        accelerator=_accelerator(spec, plan, profile, format),
        context=variant.context,
        prefill_chunk=plan.longest_call(format, plan.prefill_chunk),
        cache_bytes=_cache(spec, plan, format).bytes,
        text_bytes=text,
        rows=bool(_towers(spec, plan, format)),
    )


def artifact_on_device(
    spec: ModelSpec, plan: Plan, profile: DeviceProfile, format: Format, sizes: WrittenSizes
) -> ArtifactOnDevice:
    """One format on one device, its profile having a runtime for it."""
    family, opened = family_of(format), opened_model(spec, plan, profile, format, sizes.text_bytes)
    cache = _cache(spec, plan, format)
    speed = decode_speed(
        profile.bandwidth,
        opened.accelerator,
        weight_bytes_per_token(spec, plan.schemes),
        cache.bytes - cache.outside_windows,
    )
    towers, metric = _towers(spec, plan, format), profile.memory.metric
    held = (*family.holds(opened), *_held_by(towers))
    predicted = family.written(opened) + sum(tower.stored for _, tower in towers)
    return ArtifactOnDevice(
        format=format,
        accelerator=opened.accelerator,
        instead_of_gpu=_instead_of_gpu(spec, plan, profile, format),
        artifact_bytes=sizes.artifacts.get(format, predicted),
        cache_bytes=cache.bytes,
        memory=counted(held, metric),
        memory_error=PRESUMED if towers else prediction_error(format, opened.accelerator, metric),
        decode=speed,
    )


def _instead_of_gpu(spec: ModelSpec, plan: Plan, profile: DeviceProfile, format: Format) -> str | None:
    if beyond_buffer(spec, plan, profile, format) is None:
        return None
    return facts_of(format).without_gpu


def _accelerator(spec: ModelSpec, plan: Plan, profile: DeviceProfile, format: Format) -> Accelerator:
    instead = _instead_of_gpu(spec, plan, profile, format)
    return profile.runtimes[format].accelerator if instead is None else "CPU"


def _cache(spec: ModelSpec, plan: Plan, format: Format) -> CacheSize:
    longest = plan.longest_call(format, plan.prefill_chunk)
    return cache_size(spec, plan.variant.context, longest, family_of(format))


def _towers(spec: ModelSpec, plan: Plan, format: Format) -> list[tuple[TowerName, TowerSize]]:
    """Those of the plan that this format has."""
    names: list[TowerName] = [name for name, takes in _TAKING.items() if takes(format, spec)]
    sizes = ((name, plan.components[name].tower) for name in names if name in plan.components)
    return [(name, size) for name, size in sizes if size is not None]


_TAKING: Mapping[TowerName, Callable[[Format, ModelSpec], bool]] = {
    "vision": takes_images,
    "audio": takes_sounds,
}
_WORDS: Mapping[TowerName, tuple[str, str]] = {
    "vision": ("image tower", "image activations"),
    "audio": ("audio encoder", "sound activations"),
}


def _held_by(towers: Sequence[tuple[TowerName, TowerSize]]) -> Iterator[HeldMemory]:
    """Of towers that stay open beside the decoder, one of which runs at a time."""
    for name, tower in towers:
        yield HeldMemory(_WORDS[name][0], tower.stored, "any")
    if towers:
        name, largest = max(towers, key=lambda each: each[1].activations)
        yield HeldMemory(_WORDS[name][1], largest.activations, "any")


def missed_gates(
    spec: ModelSpec, plan: Plan, profile: DeviceProfile, found: ArtifactOnDevice, sizes: WrittenSizes
) -> tuple[str, ...]:
    """What of a device's gates an artifact misses even with an entitlement, by what is predicted where it
    was not written, a clause each."""
    missed = []
    most = profile.gates.artifact_bytes
    if most is not None and found.artifact_bytes > most:
        has, allowed = in_one_unit(found.artifact_bytes, most)
        missed.append(f"{found.format} takes {has} on disk, and {allowed} are allowed")
    if found.peak_bytes > profile.most_allowed:
        takes, there = in_one_unit(found.peak_bytes, profile.most_allowed)
        missed.append(f"{found.where} takes {takes}, and an app may use {there}")
    if (too_large := _beyond_file(spec, plan, profile, found.format, sizes)) is not None:
        missed.append(too_large)
    beyond = beyond_buffer(spec, plan, profile, found.format)
    if beyond is not None and found.instead_of_gpu is None:
        missed.append(beyond)
    if (blocks := _blocks_without_kernels(profile, plan, found.format)) is not None:
        missed.append(blocks)
    return tuple(missed)


def in_doubt(profile: DeviceProfile, found: ArtifactOnDevice) -> str | None:
    """Why an artifact that misses no gate may not fit all the same, a clause; None where it does."""
    if found.most_bytes <= profile.most_allowed:
        return None
    takes, most, there = in_one_unit(found.peak_bytes, found.most_bytes, profile.most_allowed)
    error = found.memory_error.in_words
    return f"{found.where} takes {takes}, {most} with {error}, and an app may use {there}"


def beyond_buffer(spec: ModelSpec, plan: Plan, profile: DeviceProfile, format: Format) -> str | None:
    """Which matrix its GPU cannot take at once, a clause; None where it takes all or nobody knows."""
    limit = profile.largest_buffer
    if limit is None or profile.runtimes[format].accelerator != "GPU":
        return None
    apart, schemes = facts_of(format).apart, plan.schemes
    shapes = {each.name: each.shape for each in spec.weights() if each.is_matrix and each.role not in apart}
    sizes = {name: schemes[name].stored_bytes(shape) for name, shape in shapes.items()}
    return _largest_beyond(sizes, "a buffer of its GPU", limit)


def _beyond_file(
    spec: ModelSpec, plan: Plan, profile: DeviceProfile, format: Format, sizes: WrittenSizes
) -> str | None:
    """Which of its files is larger than what is read whole there, a clause; None where none is."""
    limit, predicted = profile.largest_file, facts_of(format).read_whole
    if limit is None or predicted is None:
        return None
    towers = _towers(spec, plan, format)
    opened = opened_model(spec, plan, profile, format, sizes.text_bytes)
    files = sizes.files.get(format) or {
        **predicted(opened),
        **{f"the {_WORDS[name][0]}'s data file": tower.stored for name, tower in towers},
    }
    named = {f"{name} of {format}": size for name, size in files.items()}
    return _largest_beyond(named, "a file that is read there", limit)


def _largest_beyond(sizes: Mapping[str, int], what: str, limit: MemoryFact) -> str | None:
    """The largest of these where it is beyond a limit, with whose that is, a clause; else None."""
    largest = max(sizes, key=sizes.__getitem__)
    if sizes[largest] <= limit.bytes:
        return None
    takes, most = in_one_unit(sizes[largest], limit.bytes)
    return f"{largest} takes {takes}, and {what} {most} at most ({limit.status}: {limit.source})"


def _blocks_without_kernels(profile: DeviceProfile, plan: Plan, format: Format) -> str | None:
    if profile.runtimes[format].blockwise.kernels:
        return None
    family: RuntimeFamily = family_of(format)
    grouped = {
        scheme.in_words
        for scheme in plan.components["text"].schemes.values()
        if isinstance(scheme, IntegerScheme) and scheme.group is not None
    }
    if not grouped:
        return None
    return f"{family.title} has no kernels there for {' and '.join(sorted(grouped))}"
