"""What a LiteRT graph is like, as far as its memory depends on it: slots of caches, inputs in two parts.

Not about how it is written (`exporter.lowering.litert`) or what is held of it (`litert_memory`).
"""

from __future__ import annotations

from exporter.models.text.spec import LayerSpec, ModelSpec
from exporter.schemes import IntegerScheme, Scheme

# LiteRT-LM keeps thoughts out of the conversation: it sets the position back to before a turn and writes
# it anew. What a ring has overwritten by then is lost, and nothing says so.
REWOUND = frozenset({"gemma4_text", "gemma4_unified_text"})
SPLIT_FROM_BITS = 8


def cache_slots(spec: ModelSpec, layer: LayerSpec, context: int, prefill_chunk: int) -> int:
    """A ring of the window and a prefill chunk, so that what a padded chunk leaves behind its tokens
    overwrites nothing that is still seen; whole where the cache is rewound."""
    if layer.window is None or spec.model_type in REWOUND:
        return context
    return min(layer.window + prefill_chunk, context)


def is_split(scheme: Scheme) -> bool:
    """Whether a matrix meets its input in two parts, so that XNNPACK's rounding of it costs nothing."""
    # Beside 4-bit weights the rounding of activations is a small part of the error, and not worth its time.
    return isinstance(scheme, IntegerScheme) and scheme.bits >= SPLIT_FROM_BITS
