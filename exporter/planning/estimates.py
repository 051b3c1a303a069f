"""`CacheSize`: what an artifact's KV cache takes, before anything has run.

From shapes alone. Not about what else a runtime holds (`exporter.formats.held_memory`).
"""

from __future__ import annotations

from dataclasses import dataclass

from exporter.formats.family import RuntimeFamily
from exporter.models.text.spec import ModelSpec


@dataclass(frozen=True)
class CacheSize:
    """Bytes of an artifact's KV cache at its context, batch 1: one copy, as its tensors are declared.

    outside_windows: of these, what sliding layers keep beyond their windows and no token looks at.
    """

    bytes: int
    outside_windows: int


def cache_size(spec: ModelSpec, context: int, prefill_chunk: int, family: RuntimeFamily) -> CacheSize:
    """The KV cache of a runtime's artifact. prefill_chunk: tokens a call takes at most."""
    kept = needed = 0
    for layer in spec.cache_layers:
        position = 2 * layer.kv_heads * layer.head_dim * family.cached_bytes
        kept += position * family.cache_slots(spec, layer, context, prefill_chunk)
        needed += position * (context if layer.window is None else min(layer.window, context))
    return CacheSize(kept, kept - needed)
