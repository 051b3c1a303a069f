"""What Core ML holds of a device's memory: nobody here has measured it, so it is said with room to spare.

Weights count once, though a Neural Engine reads them from pages that Apple's systems do not count. Not
about the MIL evaluator, which is on no device.
"""

from __future__ import annotations

from exporter.byte_size import MIB
from exporter.formats.held_memory import HeldMemory, OpenedModel
from exporter.schemes import FP16

MLP_ROWS, SCORE_COPIES = 4, 2
RUNTIME = 150 * MIB  # Core ML's own, the compiled program and the app
PROGRAM = 2 * MIB


def held_by_coreml(opened: OpenedModel) -> tuple[HeldMemory, ...]:
    """States are fp16, one copy of each."""
    scores = SCORE_COPIES * opened.most_heads * opened.context
    activations = opened.prefill_chunk * (MLP_ROWS * opened.widest + scores) * FP16.bits // 8
    weights = sum(opened.stored(each) for each in opened.spec.weights() if each.is_matrix)
    return (
        HeldMemory("weights", weights + opened.vectors_bytes // 2 + opened.rope_bytes // 2, "gpu"),
        HeldMemory("KV cache", opened.cache_bytes, "gpu"),
        HeldMemory("activations", activations, "gpu"),
        HeldMemory("logits", 2 * opened.spec.vocab_size * FP16.bits // 8, "private"),
        opened.tokenizer,
        HeldMemory("runtime", RUNTIME, "private"),
    )


def written_for_coreml(opened: OpenedModel) -> int:
    """Vectors and tables of positions are fp16."""
    weights = sum(opened.stored(each) for each in opened.spec.weights() if each.is_matrix)
    return weights + opened.vectors_bytes // 2 + opened.rope_bytes // 2 + PROGRAM
