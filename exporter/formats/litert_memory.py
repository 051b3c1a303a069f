"""What LiteRT holds of a device's memory: on a CPU by XNNPACK, on a GPU by its accelerator.

CPU: fitted to the driver here, opened on Linux, its caches filled (`benchmarks/memory.py`). GPU: nobody
here has measured it. Not about what an export takes of this machine.
"""

from __future__ import annotations

import math

from exporter.byte_size import MIB
from exporter.formats.held_memory import HeldMemory, OpenedModel
from exporter.models.text.spec import WeightSpec
from exporter.schemes import FP32, IntegerScheme

ROW_FACTS = 12  # bytes a packed row has beside its codes: a scale, a sum and a bias
PAGES_AT_ONCE = 64 * 1024  # Linux maps as much around a page that is touched
LIBRARIES, INTERPRETER = (
    60 * MIB,
    26 * MIB,
)  # the vendor's code, and what Python and numpy have of their own
MLP_ROWS, SCORE_COPIES = 4, 3  # of the widest activations, and of a layer's attention scores
SOFTCAP_COPIES = 2  # more of the scores where they are capped
OPERATORS_OF_8_BITS, OPERATORS = 6 * MIB, 5 * MIB // 2  # a layer's, in both signatures
GPU_RUNTIME = 250 * MIB  # shaders, staging and the driver: from published totals, with room
GRAPH = MIB


def held_by_litert(opened: OpenedModel) -> tuple[HeldMemory, ...]:
    """XNNPACK packs every matrix into a file it maps and keeps the largest in memory of its own as well;
    a table that is only looked up stays in the artifact, of which pages come as rows are touched."""
    cache, tables = opened.cache_bytes, sum(_touched(opened, each) for each in opened.tables)
    if opened.accelerator == "GPU":
        on_gpu = sum(opened.stored(each) for each in opened.multiplied) + opened.vectors_bytes
        return (
            HeldMemory("weights", on_gpu + opened.rope_bytes, "gpu"),
            HeldMemory("KV cache", cache, "gpu"),
            HeldMemory("activations", _activations(opened), "gpu"),
            HeldMemory("weights (mapped)", tables, "file"),
            HeldMemory("logits", _logits(opened), "private"),
            opened.tokenizer,
            HeldMemory("runtime", GPU_RUNTIME, "private"),
            HeldMemory("runtime (mapped)", LIBRARIES, "file"),
        )
    packed = [opened.stored(each) + ROW_FACTS * each.shape[0] for each in opened.multiplied]
    return (
        HeldMemory("weights (packed)", sum(packed), "file"),
        HeldMemory("weights (mapped)", tables + opened.rope_bytes, "file"),
        HeldMemory("largest matrix (again)", max(packed), "private"),
        HeldMemory("KV cache", cache, "private"),
        HeldMemory("activations", _activations(opened), "private"),
        HeldMemory("logits", _logits(opened), "private"),
        opened.tokenizer,
        HeldMemory("runtime", INTERPRETER + _operators(opened), "private"),
        HeldMemory("runtime (mapped)", LIBRARIES, "file"),
    )


def written_for_litert(opened: OpenedModel) -> int:
    """A tied table of the embedders is stored once; a bundle has the tokenizer in it."""
    weights = sum(opened.stored(each) for each in opened.spec.weights())
    scales = sum(
        2 * each.shape[0] for each in opened.spec.weights() if each.is_matrix
    )  # by row they are fp32
    text = opened.text_bytes if opened.format == "litertlm" else 0
    return weights + scales + opened.rope_bytes + text + GRAPH


def _touched(opened: OpenedModel, table: WeightSpec) -> int:
    """Of a table, once a context of different tokens was looked up: what is touched twice counts once."""
    size = opened.stored(table)
    return int(size * -math.expm1(-opened.context * PAGES_AT_ONCE / size))


def _activations(opened: OpenedModel) -> int:
    copies = SCORE_COPIES + (0 if opened.spec.attention_softcap is None else SOFTCAP_COPIES)
    scores = copies * opened.most_heads * opened.context
    return opened.prefill_chunk * (MLP_ROWS * opened.widest + scores) * FP32.bits // 8


def _logits(opened: OpenedModel) -> int:
    return 2 * opened.spec.vocab_size * FP32.bits // 8  # the runtime's, and what is read from it


def _operators(opened: OpenedModel) -> int:
    linears = [opened.scheme(each) for each in opened.multiplied if each.name != opened.spec.head_name]
    eight = sum(isinstance(each, IntegerScheme) and each.bits == 8 for each in linears)
    share = eight / len(linears)
    return int(len(opened.spec.layers) * (share * OPERATORS_OF_8_BITS + (1 - share) * OPERATORS))
