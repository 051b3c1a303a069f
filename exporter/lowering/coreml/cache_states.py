"""KV caches as Core ML states: how layers share them, and which positions one call reads and writes.

A layer that sees the whole context owns that many slots; a sliding one owns `window`, the least it can
do with, in multiples of 32. A call attends to what its layers own before it and to its own tokens, as far
as their windows reach, then keeps the newest:

    slots        0 ── kept   what is there before the call, oldest first; kept = min(start, slots)
    rows         kept + tokens, the call's own keys and values behind the kept ones, in order
    written      the last of those rows, over slots first_slot to last_slot

Positions are in order at all times, there is no wrapping around, and a call may be longer than the
window. While all positions fit, a call writes its own rows only; past that, one call moves the whole
window by its tokens, which costs each decoded token a copy of the sliding caches.
Not about what is computed with the rows (`dialect`).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from exporter.formats.coreml import COREML
from exporter.lowering.coreml.graph_nodes import cache_rows, rows_from
from exporter.models.text.spec import LayerSpec, ModelSpec

KEYS, VALUES = "keyCache", "valueCache"  # the names swift-transformers looks for


@dataclass(frozen=True)
class CacheGroup:
    """The cache layers that agree in shape, stacked in one pair of states.

    slots: positions each layer's cache holds. slides: fewer than the context. layers: their indices,
    in the order of the state's first axis.
    """

    kv_heads: int
    head_dim: int
    slots: int
    slides: bool
    layers: tuple[int, ...]
    key_state: str
    value_state: str

    @property
    def shape(self) -> tuple[int, int, int, int, int]:
        """[layers, 1, kv_heads, slots, head_dim]."""
        return (len(self.layers), 1, self.kv_heads, self.slots, self.head_dim)


def cache_groups(spec: ModelSpec, context: int) -> tuple[CacheGroup, ...]:
    """States of a model: `keyCache` and `valueCache` for layers of the longest cache, which are all
    there is where no window is shorter than the context; the others carry their shape in the name,
    `keyCache_<slots>x<kv_heads>x<head_dim>`."""
    by_shape: dict[tuple[int, int, int], list[int]] = {}
    for layer in spec.cache_layers:
        # No chunk: a call may have any length, and no cache makes room for one.
        shape = (COREML.cache_slots(spec, layer, context, 0), layer.kv_heads, layer.head_dim)
        by_shape.setdefault(shape, []).append(layer.index)
    plain = max(by_shape, key=lambda shape: shape[0])  # the first of them
    groups: list[CacheGroup] = []
    for shape, layers in by_shape.items():
        slots, kv_heads, head_dim = shape
        suffix = "" if shape == plain else f"_{slots}x{kv_heads}x{head_dim}"
        states = (f"{KEYS}{suffix}", f"{VALUES}{suffix}")
        groups.append(CacheGroup(kv_heads, head_dim, slots, slots < context, tuple(layers), *states))
    return tuple(groups)


@dataclass(frozen=True)
class Rows:
    """What one layer attends to in one call.

    keys, values: [1, kv_heads, rows, head_dim], keys turned by RoPE. first: position of the first row;
    -1 where that row is nobody's (a call at position 0 finds one such row before its own). None where
    it is 0 in every call.
    """

    keys: Tensor
    values: Tensor
    first: Tensor | None


@dataclass(frozen=True)
class Slide:
    """The bounds of one call in caches of some number of slots; numbers as tensors, to be traced.

    kept: rows there before the call; at least 1, since Core ML has no empty tensors. Of all rows, those
    from first_row on go to slots first_slot to last_slot.
    """

    kept: Tensor
    first_row: Tensor
    first_slot: Tensor
    last_slot: Tensor

    @classmethod
    def of(cls, slots: int, start: int, tokens: int) -> Slide:
        # While tracing a length is a tensor; taken as a number it would freeze in the graph.
        before, new = torch.as_tensor(start), torch.as_tensor(tokens)
        most, one = torch.tensor(slots), torch.tensor(1)
        kept = torch.minimum(torch.maximum(before, one), most)
        after = before + new
        last = torch.minimum(after, most)
        first = before * (after <= most).to(before.dtype)  # all slots, once one has to go
        return cls(kept, kept + new - (last - first), first, last)


class CacheStates:
    """The states of one traced forward pass, updated in place.

    start: position of the call's first token. Layers that share a cache get the very rows its owner
    attended to, which the state may no longer hold.
    """

    def __init__(
        self, groups: Sequence[CacheGroup], states: dict[str, Tensor], start: int, tokens: int
    ) -> None:
        self._groups, self._states = groups, states
        self._start, self._tokens = start, tokens
        self._slides: dict[int, Slide] = {}
        self._rows: dict[int, Rows] = {}

    def append(self, layer: LayerSpec, keys: Tensor, values: Tensor) -> Rows:
        """Rows of a layer that owns its cache, with its new ones [1, kv_heads, tokens, head_dim]."""
        group = self._group(layer)
        slot = group.layers.index(layer.index)
        states = (self._states[group.key_state], self._states[group.value_state])
        append = self._sliding if group.slides else self._whole
        first = self._start - self._slide(group).kept if group.slides else None
        rows = Rows(append(group, slot, states[0], keys), append(group, slot, states[1], values), first)
        self._rows[layer.index] = rows
        return rows

    def shared(self, layer: LayerSpec) -> Rows:
        """Rows of a layer that reads another's cache; that one's turn was before."""
        return self._rows[layer.kv_source]

    def _whole(self, group: CacheGroup, layer: int, state: Tensor, new: Tensor) -> Tensor:
        end = self._start + self._tokens
        state[layer, :, :, self._start : end] = new
        return cache_rows(state, layer, end)

    def _sliding(self, group: CacheGroup, layer: int, state: Tensor, new: Tensor) -> Tensor:
        slide = self._slide(group)
        rows = torch.cat([cache_rows(state, layer, slide.kept), new], dim=2)
        state[layer, :, :, slide.first_slot : slide.last_slot] = rows_from(rows, slide.first_row)
        return rows

    def _slide(self, group: CacheGroup) -> Slide:
        if group.slots not in self._slides:
            self._slides[group.slots] = Slide.of(group.slots, self._start, self._tokens)
        return self._slides[group.slots]

    def _group(self, layer: LayerSpec) -> CacheGroup:
        return next(group for group in self._groups if layer.index in group.layers)
