"""`CacheSize`, `TowerSize`: what an artifact's KV cache and its towers take, before anything has run.

From shapes alone. Not about what else a runtime holds (`exporter.formats.held_memory`).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import assert_never

from exporter.formats.family import RuntimeFamily
from exporter.models.audio.spec import FRAMES_PER_TOKEN, STRIDE, AudioSpec, WaveformSpec
from exporter.models.text.spec import ModelSpec
from exporter.models.vision.spec import (
    BlockLayers,
    PatchEmbedderSpec,
    PatchTowerSpec,
    SiglipSpec,
    VisionSpec,
)
from exporter.schemes import FP32, Scheme
from runtimes.sounds.processing import SoundLength

HIDDEN_ROWS = 6  # copies of a tower layer's activations
QUERY_BLOCK = 1024  # patches whose scores are there at once
LONGEST_SOUND = SoundLength(750, 30.0)  # as published


@dataclass(frozen=True)
class CacheSize:
    """Bytes of an artifact's KV cache at its context, batch 1: one copy, as its tensors are declared.

    outside_windows: of these, what sliding layers keep beyond their windows and no token looks at.
    """

    bytes: int
    outside_windows: int


def cache_size(spec: ModelSpec, context: int, prefill_chunk: int, family: RuntimeFamily) -> CacheSize:
    """The KV cache of a runtime's artifact. prefill_chunk: tokens a call takes at most (`longest_call`)."""
    kept = needed = 0
    for layer in spec.cache_layers:
        position = 2 * layer.kv_heads * layer.head_dim * family.cached_bytes
        kept += position * family.cache_slots(spec, layer, context, prefill_chunk)
        needed += position * (context if layer.window is None else min(layer.window, context))
    return CacheSize(kept, kept - needed)


@dataclass(frozen=True)
class TowerSize:
    """A tower, in bytes. stored: its weights on disk. activations: of one image or sound, at the peak of a
    layer, the scores of a block of its patches or frames among them.

    soft_tokens: of one, at most. blocks: layers of the text model in which those see each other."""

    stored: int
    activations: int
    soft_tokens: int
    blocks: BlockLayers


def tower_size(spec: VisionSpec, schemes: Mapping[str, Scheme], soft_tokens: int) -> TowerSize:
    """schemes: of every matrix. soft_tokens: of an image."""
    stored, activations = _stored_bytes(spec, schemes), _activations(spec, soft_tokens)
    return TowerSize(stored, activations, soft_tokens, spec.tokens.blocks)


def _activations(spec: VisionSpec, soft_tokens: int) -> int:
    match spec:
        case SiglipSpec():
            return _layer_bytes(spec, spec.side**2)
        case PatchTowerSpec():
            return _layer_bytes(spec, soft_tokens * spec.kernel**2)
        case PatchEmbedderSpec():
            return soft_tokens * (spec.patch_width + spec.width) * FP32.bits // 8
        case _:
            assert_never(spec)


def encoder_size(spec: AudioSpec, schemes: Mapping[str, Scheme]) -> TowerSize:
    """Of the longest sound that transformers' processors make features of. schemes: of every matrix."""
    stored, longest = _stored_bytes(spec, schemes), LONGEST_SOUND.soft_tokens
    if isinstance(spec, WaveformSpec):
        numbers = longest * (spec.samples + spec.text_hidden_size)
        return TowerSize(stored, numbers * FP32.bits // 8, longest, "none")
    frames = longest * FRAMES_PER_TOKEN
    start = frames // STRIDE * (spec.bands // STRIDE) * spec.channels[0] * 2  # of the first convolution
    layer = longest * spec.hidden_size * (HIDDEN_ROWS + 2 * 4)
    return TowerSize(stored, max(start, layer) * FP32.bits // 8, longest, "none")


def _stored_bytes(spec: VisionSpec | AudioSpec, schemes: Mapping[str, Scheme]) -> int:
    return sum(
        (schemes[each.name] if each.is_matrix else FP32).stored_bytes(each.shape) for each in spec.weights()
    )


def _layer_bytes(spec: SiglipSpec | PatchTowerSpec, patches: int) -> int:
    wide = HIDDEN_ROWS * spec.hidden_size + 2 * spec.intermediate_size
    scores = spec.heads * min(patches, QUERY_BLOCK) * patches
    return (patches * wide + scores) * FP32.bits // 8
