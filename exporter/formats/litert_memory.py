"""What LiteRT holds of a device's memory: on a CPU by XNNPACK, on a GPU by its accelerator.

CPU: what the driver here was seen to hold, opened on Linux, its caches filled (`benchmarks/memory.py`).
GPU: nobody here has measured it. Not about what an export takes of this machine.
"""

from __future__ import annotations

import math

from exporter.byte_size import MIB
from exporter.formats.held_memory import HeldMemory, OpenedModel
from exporter.formats.litert_graph import cache_slots, is_split
from exporter.models.text.spec import LayerSpec, WeightSpec
from exporter.schemes import FP32, IntegerScheme, Scheme

ROW_FACTS = 12  # bytes a packed row has beside its codes: a scale, a sum and a bias
ROW_QUANTIZATION = 16  # bytes LiteRT has of a row's scale and zero point, in both signatures
PAGES_AT_ONCE = 64 * 1024  # Linux maps as much around a page that is touched
LIBRARIES, INTERPRETER = (
    60 * MIB,
    26 * MIB,
)  # the vendor's code, and what Python and numpy have of their own
OPERATORS_IN_TWO, OPERATORS = 3 * MIB // 2, MIB  # a layer's, in both signatures
NUMBER = FP32.bits // 8  # bytes
GPU_RUNTIME = 250 * MIB  # shaders, staging and the driver: from published totals, with room
GRAPH = MIB


def held_by_litert(opened: OpenedModel) -> tuple[HeldMemory, ...]:
    """XNNPACK packs every matrix into a file it maps, by way of memory as large as the largest, which it
    keeps; a table that is only looked up stays in the artifact, of which pages come as rows are touched."""
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
    return _workspace(opened) + _arena(opened)


def _workspace(opened: OpenedModel) -> int:
    """XNNPACK's, for what lives within a piece of the graph: the MLP of a prefill, or its scores beside a
    packed copy of the keys they are of."""
    parts = 2 if any(_is_prefilled(opened, each) for each in _split(opened)) else 1
    mlp = opened.prefill_chunk * 2 * (parts * opened.widest + opened.spec.hidden_size)
    scores = [
        opened.prefill_chunk * layer.heads * (_slots(opened, layer) + layer.head_dim)
        + layer.kv_heads * layer.head_dim * _slots(opened, layer)
        for layer in opened.spec.layers
    ]
    return NUMBER * max(mlp, *scores)


def _arena(opened: OpenedModel) -> int:
    """LiteRT's own, for what goes from one piece of a prefill to the next. Every layer's queries and new
    keys and values have places of their own among the caches', a ring's as long as the ring; so do masks,
    one of each kind, repeated for the heads that share keys."""
    chunk, numbers = opened.prefill_chunk, 0
    for layer in _prefilled_layers(opened):
        slots = _slots(opened, layer)
        written = slots if slots < opened.context else chunk
        new = 2 * layer.kv_heads * written if layer.owns_cache else 0
        numbers += layer.head_dim * (chunk * layer.heads + new)
    masks = {
        (layer.window, layer.heads // layer.kv_heads, _slots(opened, layer)) for layer in opened.spec.layers
    }
    return NUMBER * (numbers + sum(chunk * group * slots for _, group, slots in masks))


def _logits(opened: OpenedModel) -> int:
    return 2 * opened.spec.vocab_size * NUMBER  # the runtime's, and what is read from it


def _operators(opened: OpenedModel) -> int:
    by_row = [each for each in opened.multiplied if _has_scale_by_row(opened.scheme(each))]
    linears = [each for each in opened.multiplied if each.name != opened.spec.head_name]
    share = sum(is_split(opened.scheme(each)) for each in linears) / len(linears)
    layer = int(share * OPERATORS_IN_TWO + (1 - share) * OPERATORS)
    return len(opened.spec.layers) * layer + ROW_QUANTIZATION * sum(each.shape[0] for each in by_row)


def _has_scale_by_row(scheme: Scheme) -> bool:
    return isinstance(scheme, IntegerScheme) and scheme.group is None


def _split(opened: OpenedModel) -> tuple[WeightSpec, ...]:
    return tuple(each for each in opened.multiplied if is_split(opened.scheme(each)))


def _slots(opened: OpenedModel, layer: LayerSpec) -> int:
    """Of the cache that a layer reads."""
    source = opened.spec.layers[layer.kv_source]
    return cache_slots(opened.spec, source, opened.context, opened.prefill_chunk)


def _prefilled_layers(opened: OpenedModel) -> tuple[LayerSpec, ...]:
    """A prefill ends with the last keys and values that are kept."""
    return opened.spec.layers[: opened.spec.cache_layers[-1].index + 1]


def _is_prefilled(opened: OpenedModel, weight: WeightSpec) -> bool:
    """Nothing of the last of these layers but its keys and values is wanted then, nor is the head."""
    *layers, last = _prefilled_layers(opened)
    kept = tuple(f"{last.prefix}self_attn.{name}_proj.weight" for name in ("k", "v"))
    whole = tuple(layer.prefix for layer in layers)
    outside = not weight.name.startswith("model.layers.") and weight.name != opened.spec.head_name
    return outside or weight.name in kept or weight.name.startswith(whole)
