"""KV caches as LiteRT-LM passes them, inputs and outputs of the graph, and what of them a token sees.

Keys are [1, kv_heads, slots, head_dim], values transposed, [1, kv_heads, head_dim, slots]. A cache with
a slot for every position of the context holds position p in slot p. A shorter one is a ring: p is in
slot p mod slots, over the position `slots` before it. A ring has room for its window and a call, so

    age of a slot       (position of the query - slot) mod slots
    seen                age < window, and age <= position: there was a token then

hides whatever the call wrote behind the query, padding too: that is fewer than a call's tokens ahead, and
so of an age of `slots` - call or more, which is outside the window. A model whose images are seen both ways
is told by the caller what sliding layers see, but for the window, by position, and a ring finds there the
positions it holds.
Not about attention (`dialect`) or how many slots there are (`exporter.formats.litert`).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from torch import Tensor

from exporter.lowering.litert.operations import Operations
from exporter.models.text.spec import LayerSpec

# Added to the score of a key outside the window: exp() of it is 0 in fp32, and it fits fp16.
OUTSIDE_WINDOW = -3e4
# The least a caller's mask is taken for. As fp16 it would be -inf, and a row of nothing else, as padding
# may be, gives NaN.
LEAST_MASK = -(2.0**15)
WINDOW_NAME = "outside_window"  # of that constant in the file, so that a reader finds it


class CacheTensors:
    """The caches of one signature.

    positions: [tokens] int32, in order; behind the last token, whatever a caller pads with. mask: [1, 1,
    tokens, context], 0 where a key is seen and very negative where not. tensors: layer index to (keys,
    values); `append` replaces them by the updated ones. sliding_mask: the same for sliding
    layers, of models where positions alone do not say what these see.
    """

    def __init__(
        self,
        ops: Operations,
        positions: Tensor,
        mask: Tensor,
        tensors: Mapping[int, tuple[Tensor, Tensor]],
        sliding_mask: Tensor | None = None,
    ) -> None:
        self._ops, self._positions, self._mask = ops, positions, ops.maximum(mask, LEAST_MASK)
        self._told = None if sliding_mask is None else ops.maximum(sliding_mask, LEAST_MASK)
        self._tensors = dict(tensors)
        self._first: Tensor | None = None
        # The same for every layer of as many slots, so made once.
        self._starts: dict[int, tuple[Tensor, Tensor]] = {}
        self._writes: dict[int, _RingWrite] = {}
        self._masks: dict[tuple[int | None, int, int], Tensor] = {}

    def __getitem__(self, layer: int) -> tuple[Tensor, Tensor]:
        """Keys and values of a layer that owns a cache, as last written."""
        return self._tensors[layer]

    def append(self, layer: LayerSpec, k: Tensor, v: Tensor) -> None:
        """Write k, v [1, tokens, kv_heads, head_dim] from the first position on."""
        keys, values = self._tensors[layer.index]
        slots, context = keys.shape[2], self._mask.shape[3]
        if slots < context and k.shape[1] > 1:
            self._tensors[layer.index] = self._around(keys, values, k, v)
            return
        if slots not in self._starts:
            self._starts[slots] = self._starts_in(slots)
        at = self._starts[slots]
        ops = self._ops
        self._tensors[layer.index] = (
            ops.update_slice(keys, ops.transpose(k, [0, 2, 1, 3]), at[0]),
            ops.update_slice(values, ops.transpose(v, [0, 2, 3, 1]), at[1]),
        )

    def mask(self, layer: LayerSpec, group: int) -> Tensor:
        """What is added to scores [.., group * tokens, slots] of the cache a layer reads."""
        slots = self._tensors[layer.kv_source][0].shape[2]
        key = (layer.window, slots, group)
        if key not in self._masks:
            mask = self._seen(layer.window, slots)
            # One token's mask broadcasts over the group; several tokens' repeat.
            tokens = self._mask.shape[2]
            self._masks[key] = mask if tokens == 1 else self._ops.concatenate([mask] * group, axis=2)
        return self._masks[key]

    def _seen(self, window: int | None, slots: int) -> Tensor:
        if window is None:
            return self._mask
        ops, (tokens, context) = self._ops, self._mask.shape[2:]
        if self._told is not None and slots < context:
            return self._told_by_slot(self._told, window, slots)
        positions = ops.reshape(self._positions, [1, 1, tokens, 1])
        # Of the rank of what it is taken from: LiteRT's GPU accelerator reads one entry of a 1-D constant.
        every = np.arange(slots, dtype=np.int32).reshape(1, 1, 1, slots)
        age = ops.subtract(positions, ops.graph.constant(every))
        outside = ops.graph.constant(np.array(OUTSIDE_WINDOW, np.float32), WINDOW_NAME)
        if slots == context:
            narrowed = ops.select(ops.greater_equal(age, window), outside, ops.scalar(0.0))
            return ops.add(self._mask if self._told is None else self._told, narrowed)
        # The first age that is not seen: outside the window, or before the first token.
        least = ops.minimum(ops.add(positions, 1), window)
        return ops.select(ops.greater_equal(ops.floor_mod(age, slots), least), outside, ops.scalar(0.0))

    def _told_by_slot(self, mask: Tensor, window: int, slots: int) -> Tensor:
        """A mask [1, 1, tokens, context] by slot of a ring: each holds the last position that falls on it
        before the call's end, padding too."""
        ops, (tokens, context) = self._ops, mask.shape[2:]
        # Of one entry and not of none: LiteRT's GPU accelerator adds nothing to a scalar.
        end = ops.add(ops.slice(self._positions, 0, 0, 1), tokens)
        every = ops.graph.constant(np.arange(slots, dtype=np.int32))
        held = ops.add(ops.floor_mod(ops.subtract(every, end), slots), ops.subtract(end, slots))
        seen = ops.gather(mask, ops.minimum(ops.maximum(held, 0), context - 1), 3)
        outside = ops.graph.constant(np.array(OUTSIDE_WINDOW, np.float32), WINDOW_NAME)
        zero = ops.scalar(0.0)
        none_yet = ops.select(ops.greater_equal(held, 0), zero, outside)
        by_slot = [1, 1, 1, slots]
        age = ops.subtract(ops.reshape(self._positions, [1, 1, tokens, 1]), ops.reshape(held, by_slot))
        seen = ops.add(seen, ops.select(ops.greater_equal(age, window), outside, zero))
        return ops.add(seen, ops.reshape(none_yet, by_slot))

    def _starts_in(self, slots: int) -> tuple[Tensor, Tensor]:
        """Where keys [.., position, ..] and values [.., position] begin."""
        ops = self._ops
        first, zero = self._first_position(), ops.graph.constant(np.array(0, np.int32))
        if slots < self._mask.shape[3]:
            first = ops.floor_mod(first, slots)
        return ops.pack([zero, zero, first, zero]), ops.pack([zero, zero, zero, first])

    def _around(self, keys: Tensor, values: Tensor, k: Tensor, v: Tensor) -> tuple[Tensor, Tensor]:
        """A ring with several tokens written, which may go over its end and on at its beginning."""
        ops, slots, tokens = self._ops, keys.shape[2], k.shape[1]
        if slots not in self._writes:
            self._writes[slots] = _RingWrite.of(ops, self._first_position(), slots, tokens)
        write = self._writes[slots]
        # Old and new are picked by factors of 0 and 1: exact, and XNNPACK's, unlike a selection.
        new_keys = ops.transpose(ops.gather(k, write.rows, 1), [0, 2, 1, 3])
        new_values = ops.transpose(ops.gather(v, write.rows, 1), [0, 2, 3, 1])
        by_key = [ops.reshape(each, [1, 1, slots, 1]) for each in (write.kept, write.written)]
        return (
            ops.add(ops.multiply(keys, by_key[0]), ops.multiply(new_keys, by_key[1])),
            ops.add(ops.multiply(values, write.kept), ops.multiply(new_values, write.written)),
        )

    def _first_position(self) -> Tensor:
        if self._first is None:
            self._first = self._ops.reshape(self._ops.slice(self._positions, 0, 0, 1), [])
        return self._first


@dataclass(frozen=True)
class _RingWrite:
    """Which slots of a ring a call writes.

    rows: [slots] int32, the call's token each slot would get. kept, written: [slots], 0 or 1.
    """

    rows: Tensor
    kept: Tensor
    written: Tensor

    @classmethod
    def of(cls, ops: Operations, first: Tensor, slots: int, tokens: int) -> _RingWrite:
        every = ops.graph.constant(np.arange(slots, dtype=np.int32))
        token = ops.floor_mod(ops.subtract(every, first), slots)
        old = ops.greater_equal(token, tokens)
        zero, one = ops.scalar(0.0), ops.scalar(1.0)
        return cls(ops.minimum(token, tokens - 1), ops.select(old, one, zero), ops.select(old, zero, one))
