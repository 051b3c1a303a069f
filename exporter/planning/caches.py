"""How many positions each layer's KV cache holds, which is its runtime's to decide.

Not about what a cache costs (`estimates`) or how one is written and read (the lowerings).
"""

from __future__ import annotations

from exporter.models.text.spec import LayerSpec, ModelSpec
from runtimes.manifest import Format

# Tokens a ring can be set back by after any call: the rest of its room beside the window may be taken by
# what a padded chunk left behind its one token.
REWINDABLE = 2

# LiteRT-LM keeps thoughts out of the conversation: it sets the position back to before a turn and writes
# it anew. What a ring has overwritten by then is lost, and nothing says so.
REWOUND = frozenset({"gemma4_text", "gemma4_unified_text"})


def cache_slots(spec: ModelSpec, layer: LayerSpec, context: int, prefill_chunk: int, format: Format) -> int:
    """Positions the cache of a layer holds: `context`, or fewer where it slides and the runtime allows.

    Core ML: the window. LiteRT: a ring of the window and a prefill chunk, so that what a padded chunk
    leaves behind its tokens overwrites nothing that is still seen; whole where the cache is rewound.
    ONNX Runtime: GroupQueryAttention wants one length for all (`sliding_window_cache` fails in plain
    ONNX Runtime with an empty past, and in onnxruntime-genai below the window).
    """
    if layer.window is None or format == "onnx":
        return context
    if format == "coreml":
        return min(layer.window, context)
    if spec.model_type in REWOUND:
        return context
    return min(layer.window + prefill_chunk, context)


def has_rings(spec: ModelSpec, context: int, prefill_chunk: int, format: Format) -> bool:
    """Whether layers of an artifact forget positions, so that it can be set back by REWINDABLE at most."""
    if format not in ("tflite", "litertlm"):
        return False
    slots = (cache_slots(spec, layer, context, prefill_chunk, format) for layer in spec.cache_layers)
    return min(slots) < context
