"""Decode speed on a device, before anything has run: bytes of a token over bandwidth, and what is reached.

An interval, fitted for each kind of processor to published measurements of Gemma on devices whose bandwidth
is known (`benchmarks/decode_speed.py` prints how far off each of them is). Not about prefill, which wants
arithmetic and not bandwidth.
"""

from __future__ import annotations

from collections.abc import Mapping

from exporter.models.text.spec import ModelSpec, Role
from exporter.planning.device_profile import Bandwidth
from exporter.planning.device_verdict import DecodeSpeed
from exporter.schemes import FP32, Scheme
from runtimes.formats import Accelerator

# The share of the bandwidth that the worse and the better of the published rows reach: their tenth and
# ninetieth percentiles, rounded to 0.05. A test holds them to benchmarks/published_speeds.toml.
EFFICIENCY: dict[Accelerator, tuple[float, float]] = {
    "CPU": (0.35, 0.55),
    "GPU": (0.50, 0.80),
    "NPU": (0.50, 0.55),
}

_LOOKED_UP = (Role.EMBEDDING, Role.PER_LAYER_EMBEDDING)


def decode_speed(
    bandwidth: Bandwidth | None, accelerator: Accelerator, weights: int, cache: int
) -> DecodeSpeed | None:
    """Tokens per second; None where the profile knows no bandwidth.

    weights: bytes read for every token. cache: bytes of the KV cache that a token at the end of the
    context attends to; the lower end reads all of it, the upper end and the ceiling none.
    """
    if bandwidth is None:
        return None
    per_second = bandwidth.gigabytes_per_second * 1e9
    low, high = EFFICIENCY[accelerator]
    ceiling = per_second / weights
    return DecodeSpeed(
        low=low * per_second / (weights + cache),
        high=high * ceiling,
        ceiling=ceiling,
        sourced=bandwidth.status == "sourced",
    )


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
