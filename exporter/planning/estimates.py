"""What a model asks of a device, before anything has run: memory, and a ceiling on decode speed.

Estimates from sizes and published figures, labelled as such; measurements are in the reports.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from exporter.formats.family import RuntimeFamily
from exporter.formats.table import facts_of, family_of
from exporter.models.text.spec import ModelSpec, Role
from exporter.planning.plan import Plan
from exporter.planning.profiles import DeviceProfile, Metric, Status
from exporter.schemes import FP32, Scheme
from runtimes.formats import Format

_LOOKED_UP = (Role.EMBEDDING, Role.PER_LAYER_EMBEDDING)


@dataclass(frozen=True)
class CacheSize:
    """Bytes of an artifact's KV cache at its context, batch 1: one copy, as its tensors are declared.

    outside_windows: of these, what sliding layers keep beyond their windows and no token looks at.
    """

    bytes: int
    outside_windows: int


@dataclass(frozen=True)
class SpeedCeiling:
    """Decode cannot be faster than this: each token reads every weight once.

    status: what the bandwidth figure rests on. An estimate, never a measurement.
    """

    tokens_per_second: float
    bytes_per_token: int
    gigabytes_per_second: float
    status: Status

    def sentence(self) -> str:
        """The estimate with its label, for people."""
        return (
            f"at most {self.tokens_per_second:.3g} tokens/s (estimate: {self.bytes_per_token / 1e6:.0f} MB "
            f"per token at {self.gigabytes_per_second:g} GB/s, {self.status})"
        )


@dataclass(frozen=True)
class MemoryFit:
    """Bytes a release needs when it runs against what the device lets one app use.

    needed counts the whole artifact as resident: a runtime that maps it may need less, one that
    repacks weights (XNNPACK) needs more.
    """

    profile: str
    metric: Metric
    artifact_bytes: int
    cache_bytes: int
    app_bytes: int
    app_with_entitlement_bytes: int | None

    @property
    def needed(self) -> int:
        return self.artifact_bytes + self.cache_bytes

    @property
    def fits(self) -> bool:
        return self.needed <= self.app_bytes

    @property
    def fits_with_entitlement(self) -> bool:
        limit = self.app_with_entitlement_bytes
        return self.fits or (limit is not None and self.needed <= limit)

    def sentence(self) -> str:
        """The estimate with its label, for people."""
        if self.fits:
            verdict = "fits"
        elif self.fits_with_entitlement:
            verdict = "fits only with the increased-memory-limit entitlement"
        else:
            verdict = "does not fit"
        return (
            f"{self.profile}: {verdict} (estimate: {self.artifact_bytes / 1e6:.0f} MB of artifact and "
            f"{self.cache_bytes / 1e6:.0f} MB of KV cache against {self.app_bytes / 1e6:.0f} MB, "
            f"{self.metric})"
        )


def device_estimates(
    spec: ModelSpec, plan: Plan, profiles: Sequence[DeviceProfile], artifact_bytes: Mapping[Format, int]
) -> tuple[str, ...]:
    """A sentence per device and format on room, and one per device on decode speed; one more where a GPU
    takes no buffer as large as a matrix.

    artifact_bytes: format to the size of what was written.
    """
    sentences = []
    per_token = weight_bytes_per_token(spec, plan.schemes)
    for profile in profiles:
        for format in profile.formats:
            if format not in artifact_bytes:
                continue
            cache = cache_size(spec, plan.variant.context, plan.prefill_chunk, family_of(format))
            fit = memory_fit(profile, artifact_bytes=artifact_bytes[format], cache_bytes=cache.bytes)
            sentences.append(f"{format} on {fit.sentence()}")
            if (beyond := _beyond_buffer(profile, format, spec, plan)) is not None:
                sentences.append(beyond)
        if (ceiling := decode_ceiling(profile, per_token)) is not None:
            sentences.append(f"{profile.name}: {ceiling.sentence()}")
    return tuple(sentences)


def _beyond_buffer(profile: DeviceProfile, format: Format, spec: ModelSpec, plan: Plan) -> str | None:
    """Which matrix its GPU cannot take at once, None where it takes all or nobody knows."""
    limit = profile.largest_buffer
    if limit is None or profile.accelerators.by_format[format] != "GPU":
        return None
    apart = facts_of(format).apart
    shapes = {each.name: each.shape for each in spec.weights() if each.is_matrix and each.role not in apart}
    sizes = {name: plan.schemes[name].stored_bytes(shape) for name, shape in shapes.items()}
    largest = max(sizes, key=sizes.__getitem__)
    if sizes[largest] <= limit.bytes:
        return None
    return (
        f"{format} on {profile.name}: {largest} takes {sizes[largest]:,} bytes and a buffer "
        f"{limit.bytes:,} at most (estimate: {limit.status}, {limit.source})"
    )


def cache_size(spec: ModelSpec, context: int, prefill_chunk: int, family: RuntimeFamily) -> CacheSize:
    """The KV cache of an artifact as the lowerings here make it: an entry for key and value each, in
    every kv head, slot and layer that owns a cache."""
    kept = needed = 0
    for layer in spec.cache_layers:
        position = 2 * layer.kv_heads * layer.head_dim * family.cached_bytes
        kept += position * family.cache_slots(spec, layer, context, prefill_chunk)
        needed += position * (context if layer.window is None else min(layer.window, context))
    return CacheSize(kept, kept - needed)


def weight_bytes_per_token(spec: ModelSpec, schemes: Mapping[str, Scheme]) -> int:
    """Bytes of weights read to decode one token.

    schemes: canonical name to scheme, for every matrix. Tables are looked up, one row each, but a
    tied embedding is read whole, as the output head. Norms and scalars count as fp32.
    """
    total = 0
    for weight in spec.weights():
        scheme = schemes[weight.name] if weight.is_matrix else FP32
        shape = weight.shape
        if weight.role in _LOOKED_UP and weight.name != spec.head_name:
            shape = (1, *shape[1:])
        total += scheme.stored_bytes(shape)
    return total


def decode_ceiling(profile: DeviceProfile, bytes_per_token: int) -> SpeedCeiling | None:
    """Bandwidth divided by bytes per token; None where the profile knows no bandwidth."""
    bandwidth = profile.bandwidth
    if bandwidth is None:
        return None
    return SpeedCeiling(
        tokens_per_second=bandwidth.gigabytes_per_second * 1e9 / bytes_per_token,
        bytes_per_token=bytes_per_token,
        gigabytes_per_second=bandwidth.gigabytes_per_second,
        status=bandwidth.status,
    )


def memory_fit(profile: DeviceProfile, *, artifact_bytes: int, cache_bytes: int) -> MemoryFit:
    """Whether an artifact and its KV cache fit into what one app may use of this device."""
    entitled = profile.memory.app_with_entitlement
    return MemoryFit(
        profile=profile.name,
        metric=profile.memory.metric,
        artifact_bytes=artifact_bytes,
        cache_bytes=cache_bytes,
        app_bytes=profile.memory.app.bytes,
        app_with_entitlement_bytes=None if entitled is None else entitled.bytes,
    )
