"""Which positions a call attends to and which stay in the states, for every way of splitting a text.

Keys carry their position, so that what a cache holds can be read off it. Not about the graph they
become (tests/parity/test_coreml_sliding_caches.py).
"""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import Tensor

from exporter.lowering.coreml.cache_states import CacheStates, Rows, cache_groups
from exporter.models.text.spec import LayerSpec, ModelSpec
from tests.tiny import RandomSource, tiny_gemma1, tiny_gemma3, tiny_gemma4_12b, tiny_gemma4_e2b

CONTEXT = 80
SLOTS = 32  # of a window of 16, which is rounded up, and of one of 32
SIZES = {
    "one by one": [1] * CONTEXT,
    "all at once": [CONTEXT],
    "as long as the cache": [SLOTS, SLOTS, 16],
    "longer than the cache": [33, 1, 36, 10],
    "up to the cache's edge and over": [31, 1, 1, 1, 31, 5, 10],
    "short, then long": [3, 73, 1, 1, 2],
}


def positions(count: int, start: int, layer: LayerSpec) -> Tensor:
    """Keys that are their positions plus 1, so that an empty slot is not position 0."""
    at = torch.arange(start + 1, start + count + 1).float()
    return at[None, None, :, None].expand(1, layer.kv_heads, count, layer.head_dim)


def held(cached: Tensor) -> list[int]:
    """Positions of rows [.., rows, head_dim]; -1 for an empty one."""
    return [int(key) - 1 for key in cached[0, 0, :, 0]]


class Feeding:
    """Calls on the states of a spec, one after the other."""

    def __init__(self, spec: ModelSpec, context: int = CONTEXT) -> None:
        self.groups = cache_groups(spec, context)
        self.states = {
            state: torch.zeros(group.shape)
            for group in self.groups
            for state in (group.key_state, group.value_state)
        }
        self.position = 0

    def call(self, layer: LayerSpec, count: int) -> Rows:
        caches = CacheStates(self.groups, self.states, self.position, count)
        new = positions(count, self.position, layer)
        self.position += count
        return caches.append(layer, new, -new)


@pytest.mark.parametrize("window", [SLOTS // 2, SLOTS])
@pytest.mark.parametrize("sizes", SIZES.values(), ids=SIZES)
def test_a_sliding_layer_attends_to_its_cache_and_keeps_the_newest(sizes: list[int], window: int) -> None:
    """Of what it attends to, the mask hides what its window does not reach."""
    spec = RandomSource({**tiny_gemma3(), "sliding_window": window}).components["text"].spec
    layer = spec.layers[1]
    assert layer.window == window
    feeding = Feeding(spec)
    (group,) = (group for group in feeding.groups if layer.index in group.layers)
    slot = group.layers.index(layer.index)
    for count in sizes:
        start, end = feeding.position, feeding.position + count
        rows = feeding.call(layer, count)
        assert rows.first is not None
        first = int(rows.first)
        assert first == (max(start - SLOTS, 0) if start else -1)
        assert held(rows.keys) == list(range(first, end))
        torch.testing.assert_close(rows.values, -rows.keys)
        kept = held(feeding.states[group.key_state][slot])
        oldest = max(end - SLOTS, 0)
        assert kept[: end - oldest] == list(range(oldest, end))
        assert kept[end - oldest :] == [-1] * (SLOTS - (end - oldest))
    assert feeding.position == CONTEXT
    others = [i for i in range(len(group.layers)) if i != slot]
    assert not feeding.states[group.key_state][others].any()


@pytest.mark.parametrize("sizes", SIZES.values(), ids=SIZES)
def test_a_full_layer_keeps_and_attends_to_everything(sizes: list[int]) -> None:
    spec = RandomSource(tiny_gemma3()).components["text"].spec
    layer = spec.layers[2]
    feeding = Feeding(spec)
    for count in sizes:
        rows = feeding.call(layer, count)
        assert rows.first is None
        assert held(rows.keys) == list(range(feeding.position))


def test_a_layer_that_shares_a_cache_sees_what_its_owner_saw() -> None:
    """Also what the owner's state has lost by then."""
    spec = RandomSource(tiny_gemma4_e2b()).components["text"].spec
    sharing = next(layer for layer in spec.layers if not layer.owns_cache and layer.window)
    owner = spec.layers[sharing.kv_source]
    groups = cache_groups(spec, CONTEXT)
    states = {state: torch.zeros(g.shape) for g in groups for state in (g.key_state, g.value_state)}
    caches = CacheStates(groups, states, 0, CONTEXT)
    rows = caches.append(owner, positions(CONTEXT, 0, owner), positions(CONTEXT, 0, owner))
    assert caches.shared(sharing) is rows
    assert held(rows.keys) == list(range(-1, CONTEXT))
    (group,) = (group for group in groups if owner.index in group.layers)
    kept = held(states[group.key_state][group.layers.index(owner.index)])
    assert kept == list(range(CONTEXT - SLOTS, CONTEXT))


def test_caches_of_one_shape_are_one_pair_of_states() -> None:
    (group,) = cache_groups(RandomSource(tiny_gemma1()).components["text"].spec, 64)
    assert (group.key_state, group.value_state) == ("keyCache", "valueCache")
    assert group.shape == (3, 1, 1, 64, 32)
    assert not group.slides


@pytest.mark.parametrize("context", [SLOTS - 3, SLOTS])
def test_a_cache_that_is_no_shorter_than_the_context_does_not_slide(context: int) -> None:
    (group,) = cache_groups(RandomSource(tiny_gemma3()).components["text"].spec, context)
    assert group.shape == (7, 1, 2, context, 32)
    assert not group.slides


def test_sliding_layers_own_caches_of_their_window_in_multiples_of_32() -> None:
    sliding, full = cache_groups(RandomSource(tiny_gemma3()).components["text"].spec, SLOTS + 1)
    assert sliding.shape == (5, 1, 2, SLOTS, 32)
    assert full.shape == (2, 1, 2, SLOTS + 1, 32)
    assert sliding.slides
    assert not full.slides
    assert (full.key_state, full.value_state) == ("keyCache", "valueCache"), "the names callers look for"
    assert (sliding.key_state, sliding.value_state) == ("keyCache_32x2x32", "valueCache_32x2x32")


def test_caches_of_another_head_size_are_states_of_their_own() -> None:
    sliding, full = cache_groups(RandomSource(tiny_gemma4_12b()).components["text"].spec, SLOTS)
    assert (sliding.key_state, full.key_state) == ("keyCache", "keyCache_32x1x64")
    assert sorted(sliding.layers + full.layers) == list(range(7))


def test_the_fixtures_go_past_several_windows() -> None:
    assert CONTEXT > 2 * SLOTS
    assert all(np.sum(sizes) == CONTEXT for sizes in SIZES.values())
