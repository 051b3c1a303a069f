"""What a ring holds and what a token sees of it, run in LiteRT, for every way of splitting a text.

Keys carry their position and values the same, so that what a cache holds can be read off it; prefill
calls are padded with positions of 0, as LiteRT-LM pads them. Not about attention (tests/parity).
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from exporter.formats.litert import REWINDABLE
from exporter.lowering.litert.cache_tensors import CacheTensors
from exporter.lowering.litert.graph import ModelBuilder, SubgraphBuilder
from exporter.lowering.litert.operations import Operations
from exporter.lowering.litert.writing import write_tflite
from exporter.models.text.spec import LayerSpec
from runtimes.litert.compiled import close_model, compile_model
from tests.tiny import RandomSource, tiny_gemma3

CONTEXT, CHUNK = 64, 7
LAYER = RandomSource(tiny_gemma3()).components["text"].spec.layers[1]
GROUP, PAD = 2, -5.0
WINDOW = LAYER.window or 0
SLOTS = WINDOW + CHUNK
SIZES = {
    "one by one": [1] * CONTEXT,
    "whole chunks": [CHUNK] * 9,
    "short chunks": [CHUNK - 1, 2, CHUNK, CHUNK - 2] * 3,
    "decoding between chunks": [CHUNK, 1, 1, 5, 1, 2, 1, CHUNK, CHUNK, 1, 3, CHUNK, CHUNK, 1, 6],
    "over the ring's end": [CHUNK, CHUNK, CHUNK - 1, CHUNK, CHUNK, CHUNK],
}


class Runner:
    """A graph of nothing but one layer's cache, in signatures for CHUNK tokens and for one."""

    def __init__(self, directory: Path, slots: int) -> None:
        builder = ModelBuilder()
        for count in (CHUNK, 1):
            _signature(SubgraphBuilder(builder, f"calls_{count}"), LAYER, slots, count)
        path = directory / "caches.tflite"
        with path.open("wb") as file:
            write_tflite(builder.model, (), file, lambda done, total: None)
        self.model = compile_model(path, directory, 1)
        self.keys = np.zeros((1, LAYER.kv_heads, slots, LAYER.head_dim), np.float32)
        self.values = np.ascontiguousarray(self.keys.transpose(0, 1, 3, 2))
        self.position = 0

    def call(self, count: int) -> NDArray[np.float32]:
        """Append tokens; returns the mask of each, [count, slots]."""
        return self._call(count, 1 if count == 1 else CHUNK)

    def prefill_one_of_a_chunk(self) -> None:
        self._call(1, CHUNK)

    def _call(self, count: int, length: int) -> NDArray[np.float32]:
        at = np.zeros(length, np.int32)
        at[:count] = np.arange(self.position, self.position + count)
        new = np.full((1, length, LAYER.kv_heads, LAYER.head_dim), PAD, np.float32)
        new[:, :count] = at[None, :count, None, None]
        hidden = np.arange(CONTEXT) > at[:, None]
        given = {
            "input_pos": at,
            "mask": np.where(hidden, np.float32(-1e9), np.float32(0))[None, None],
            "new": new,
            "keys": self.keys,
            "values": self.values,
        }
        outputs = self._run(f"calls_{length}", given)
        self.keys, self.values = outputs["keys"], outputs["values"]
        self.position += count
        per_group = outputs["seen"].reshape(-1, length, outputs["seen"].shape[-1])
        np.testing.assert_array_equal(per_group, np.broadcast_to(per_group[:1], per_group.shape))
        seen: NDArray[np.float32] = per_group[0, :count]
        return seen

    def _run(self, signature: str, given: dict[str, Any]) -> dict[str, Any]:
        model, index = self.model, self.model.get_signature_index(signature)
        details = model.get_output_tensor_details(signature)
        names = model.get_signature_by_index(index)
        inputs = [model.create_input_buffer_by_name(signature, name) for name in names["inputs"]]
        outputs = [model.create_output_buffer_by_name(signature, name) for name in names["outputs"]]
        for name, buffer in zip(names["inputs"], inputs, strict=True):
            buffer.write(given[name])
        model.run_by_index(index, inputs, outputs)
        found = {}
        for name, buffer in zip(names["outputs"], outputs, strict=True):
            shape = tuple(details[name]["shape"])
            found[name] = buffer.read(int(np.prod(shape)), np.float32).reshape(shape)
        for buffer in (*inputs, *outputs):
            buffer.destroy()
        return found


def _signature(graph: SubgraphBuilder, layer: LayerSpec, slots: int, count: int) -> None:
    ops = Operations(graph)
    positions = graph.input("input_pos", (count,), torch.int32)
    mask = graph.input("mask", (1, 1, count, CONTEXT), torch.float32)
    new = graph.input("new", (1, count, layer.kv_heads, layer.head_dim), torch.float32)
    keys = graph.input("keys", (1, layer.kv_heads, slots, layer.head_dim), torch.float32)
    values = graph.input("values", (1, layer.kv_heads, layer.head_dim, slots), torch.float32)
    caches = CacheTensors(ops, positions, mask, {layer.index: (keys, values)})
    caches.append(layer, new, new)
    found, seen = caches[layer.index], caches.mask(layer, GROUP)
    graph.finish({"keys": found[0], "values": found[1], "seen": seen})


@pytest.fixture(params=[SLOTS, CONTEXT], ids=["ring", "whole context"])
def runner(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Runner]:
    runner = Runner(tmp_path, request.param)
    yield runner
    close_model(runner.model)


@pytest.mark.parametrize("sizes", SIZES.values(), ids=SIZES)
def test_every_token_sees_its_window_and_nothing_else(runner: Runner, sizes: list[int]) -> None:
    for count in sizes:
        first = runner.position
        masks = runner.call(count)
        held = runner.keys[0, 0, :, 0]
        np.testing.assert_array_equal(runner.values, runner.keys.transpose(0, 1, 3, 2))
        np.testing.assert_array_equal(runner.keys, np.broadcast_to(held[:, None], runner.keys.shape))
        for token, mask in enumerate(masks):
            position = first + token
            seen = sorted(held[mask > -1e4].tolist())
            assert seen == list(range(max(0, position - WINDOW + 1), position + 1))


@pytest.mark.parametrize(("back", "lost"), [(1, False), (REWINDABLE, False), (REWINDABLE + 1, True)])
def test_a_ring_can_be_set_back_as_far_as_the_card_says(back: int, lost: bool, tmp_path: Path) -> None:
    """After the call that leaves the most behind its tokens: one token of a chunk."""
    runner = Runner(tmp_path, SLOTS)
    for count in (CHUNK, CHUNK, CHUNK, CHUNK - 1, 1):
        runner.call(count)
    runner.prefill_one_of_a_chunk()
    runner.position -= back
    position = runner.position
    (mask,) = runner.call(1)
    seen = sorted(runner.keys[0, 0, mask > -1e4, 0].tolist())
    assert (seen != list(range(position - WINDOW + 1, position + 1))) == lost
    close_model(runner.model)


def test_a_ring_without_room_for_a_chunk_loses_what_is_still_seen(tmp_path: Path) -> None:
    """Why it has that room: else what a padded chunk leaves stands where the window should."""
    runner = Runner(tmp_path, WINDOW + 1)
    for count in (CHUNK, CHUNK, CHUNK):
        runner.call(count)
    mask = runner.call(2)[-1]
    assert PAD in runner.keys[0, 0, mask > -1e4, 0]
    close_model(runner.model)
