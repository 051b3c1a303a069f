"""What one artifact takes of one device: bytes on disk, memory by component, decode speed; and what of its
gates it misses.

Predicted, whether before an export, from shapes, or after it, with the sizes of what was written. Not about
choosing between recipes (`exporter.planning.planner`).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from exporter.byte_size import beside_limit
from exporter.formats.family import RuntimeFamily
from exporter.formats.held_memory import HeldMemory, OpenedModel, counted
from exporter.formats.table import facts_of, family_of, takes_images
from exporter.models.text.spec import ModelSpec
from exporter.planning.decode_speed import decode_speed, weight_bytes_per_token
from exporter.planning.device_profile import DeviceProfile
from exporter.planning.device_verdict import ArtifactOnDevice
from exporter.planning.estimates import CacheSize, TowerSize, cache_size
from exporter.planning.plan import Plan
from exporter.schemes import IntegerScheme
from runtimes.formats import Format


@dataclass(frozen=True)
class WrittenSizes:
    """text_bytes: of the tokenizer's file. artifacts: format to bytes of what was written, none before."""

    text_bytes: int
    artifacts: Mapping[Format, int]


def opened_model(
    spec: ModelSpec, plan: Plan, profile: DeviceProfile, format: Format, text: int
) -> OpenedModel:
    """A plan's artifact as a device's runtime opens it. text: bytes of the tokenizer's file."""
    variant = plan.variant
    return OpenedModel(
        spec=spec,
        schemes=plan.schemes,
        format=format,
        accelerator=profile.runtimes[format].accelerator,
        context=variant.context,
        prefill_chunk=plan.longest_call(format, plan.prefill_chunk),
        cache_bytes=_cache(spec, plan, format).bytes,
        text_bytes=text,
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
    tower = plan.tower if takes_images(format, spec) else None
    held = (*family.holds(opened), *(() if tower is None else _seeing(tower)))
    predicted = family.written(opened) + (0 if tower is None else tower.stored)
    return ArtifactOnDevice(
        format=format,
        accelerator=opened.accelerator,
        artifact_bytes=sizes.artifacts.get(format, predicted),
        cache_bytes=cache.bytes,
        memory=counted(held, profile.memory.metric),
        decode=speed,
    )


def _cache(spec: ModelSpec, plan: Plan, format: Format) -> CacheSize:
    longest = plan.longest_call(format, plan.prefill_chunk)
    return cache_size(spec, plan.variant.context, longest, family_of(format))


def _seeing(tower: TowerSize) -> tuple[HeldMemory, ...]:
    """Of an image tower that stays open beside the decoder, in memory that every metric counts."""
    return (
        HeldMemory("image tower", tower.stored, "gpu"),
        HeldMemory("image activations", tower.activations, "gpu"),
    )


def missed_gates(profile: DeviceProfile, plan: Plan, found: ArtifactOnDevice) -> tuple[str, ...]:
    """What of a device's gates an artifact misses even with an entitlement, a clause each."""
    missed = []
    most = profile.gates.artifact_bytes
    if most is not None and found.artifact_bytes > most:
        has, allowed = beside_limit(found.artifact_bytes, most)
        missed.append(f"{found.format} takes {has} on disk, and {allowed} are allowed")
    budget = profile.budget_with_entitlement or profile.budget
    if found.peak_bytes > budget:
        takes, there = beside_limit(found.peak_bytes, budget)
        where = f"{found.format} on the {found.accelerator}"
        missed.append(f"{where} takes {takes}, and an app may use {there}")
    if (blocks := _blocks_without_kernels(profile, plan, found.format)) is not None:
        missed.append(blocks)
    return tuple(missed)


def beyond_buffer(profile: DeviceProfile, format: Format, spec: ModelSpec, plan: Plan) -> str | None:
    """Which matrix its GPU cannot take at once, a sentence; None where it takes all or nobody knows."""
    limit = profile.largest_buffer
    if limit is None or profile.runtimes[format].accelerator != "GPU":
        return None
    apart = facts_of(format).apart
    shapes = {each.name: each.shape for each in spec.weights() if each.is_matrix and each.role not in apart}
    sizes = {name: plan.schemes[name].stored_bytes(shape) for name, shape in shapes.items()}
    largest = max(sizes, key=sizes.__getitem__)
    if sizes[largest] <= limit.bytes:
        return None
    return (
        f"{largest} takes {sizes[largest]:,} bytes, and a buffer of its GPU {limit.bytes:,} at most "
        f"({limit.status}: {limit.source})."
    )


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
