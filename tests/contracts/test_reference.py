"""What the streamed reference promises calibration and validation alike, for every family.

Matrix: family × (several batches, seeing, replacing, spilling). Not asserted here: that its logits are
transformers' (`tests/parity/test_reference_against_transformers.py`), speed.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from torch import Tensor

from exporter.models.text.spec import Role
from exporter.reference.layer_walk import LayerWalk
from exporter.reference.spill import Spill
from exporter.reference.streamed import StreamedReference
from exporter.reference.weights import OriginalWeights
from tests.fakes import silent
from tests.tiny import TINY_CONFIGS, WINDOW, RandomSource, tiny_gemma3

TOKENS = 2 * WINDOW
LAYER = "model.layers."


@pytest.fixture(autouse=True, scope="module")
def one_thread() -> Iterator[None]:
    """Tiny models are slower on two threads than on one."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    with torch.inference_mode():
        yield
    torch.set_num_threads(before)


def batches(count: int = 3) -> list[NDArray[np.int32]]:
    random = np.random.default_rng(11)
    return [random.integers(0, 512, (1, TOKENS)).astype(np.int32) for _ in range(count)]


def reference(family: str) -> StreamedReference:
    return StreamedReference(OriginalWeights(RandomSource(TINY_CONFIGS[family]())))


def through(walk: LayerWalk) -> None:
    walk.start()
    for layer in walk.layers():
        layer.advance()


def final(walk: LayerWalk, number: int) -> Tensor:
    hidden: Tensor = walk.finish(number).last_hidden_state
    return hidden


@dataclass
class Seen:
    """Notes what passes each linear, and replaces nothing."""

    entered: list[tuple[str, Tensor]] = field(default_factory=list)
    left: list[tuple[str, Tensor]] = field(default_factory=list)

    def enters(self, weight: str, inputs: Tensor) -> None:
        self.entered.append((weight, inputs.clone()))

    def leaves(self, weight: str, outputs: Tensor) -> None:
        self.left.append((weight, outputs.clone()))


@dataclass(frozen=True)
class Scaled:
    """Replaces what enters and what leaves one linear by multiples of it."""

    weight: str
    entering: float
    leaving: float

    def enters(self, weight: str, inputs: Tensor) -> Tensor | None:
        return inputs * self.entering if weight == self.weight else None

    def leaves(self, weight: str, outputs: Tensor) -> Tensor | None:
        return outputs * self.leaving if weight == self.weight else None


@pytest.mark.parametrize("family", TINY_CONFIGS)
def test_batches_taken_together_are_what_each_is_alone(family: str) -> None:
    model = reference(family)
    together = batches()
    with model.walk(*together) as walk:
        through(walk)
        found = [final(walk, number) for number in range(len(together))]
    for batch, hidden in zip(together, found, strict=True):
        with model.walk(batch) as walk:
            through(walk)
            assert torch.equal(final(walk, 0), hidden)
    assert not torch.equal(found[0], found[1]), "the batches are alike: it would prove nothing"


@pytest.mark.parametrize("family", TINY_CONFIGS)
@pytest.mark.parametrize("pad", [None, 40, 511])
def test_the_token_that_pads_takes_no_part(family: str, pad: int | None) -> None:
    def logits(pad_token: int | None) -> dict[int, Tensor]:
        source = RandomSource({**TINY_CONFIGS[family](), "pad_token_id": pad_token})
        found: dict[int, Tensor] = {}
        sink = SimpleNamespace(take=lambda start, block: found.update({start: torch.from_numpy(block)}))
        StreamedReference(OriginalWeights(source)).run(np.arange(20, 60)[None], sink, silent)
        return found

    expected = logits(0)
    assert all(torch.equal(block, expected[start]) for start, block in logits(pad).items())


@pytest.mark.parametrize("family", TINY_CONFIGS)
def test_every_linear_is_seen_once_a_batch_with_its_inputs_and_outputs(family: str) -> None:
    model = reference(family)
    spec = RandomSource(TINY_CONFIGS[family]()).components["text"].spec
    shapes = {each.name: each.shape for each in spec.weights() if each.role is Role.LINEAR}
    seen = Seen()
    with model.walk(*batches(2)) as walk:
        walk.start(seen)
        for layer in walk.layers():
            before = len(seen.entered)
            layer.advance(seen)
            names = {name for name, _ in seen.entered[before:]}
            assert all(name.startswith(f"{LAYER}{layer.index}.") for name in names)
    assert Counter(name for name, _ in seen.entered) == dict.fromkeys(shapes, 2)
    for (name, inputs), (same, outputs) in zip(seen.entered, seen.left, strict=True):
        assert name == same
        rows, columns = shapes[name]
        assert inputs.shape[-1] == columns
        assert outputs.shape[-1] == rows
        assert inputs.shape[:-1] == outputs.shape[:-1] == (1, TOKENS)


@pytest.mark.parametrize("family", TINY_CONFIGS)
def test_what_leaves_a_linear_is_its_weight_times_what_entered(family: str) -> None:
    source = RandomSource(TINY_CONFIGS[family]())
    seen = Seen()
    StreamedReference(OriginalWeights(source)).watch(batches(1)[0], seen)
    for (name, inputs), (_, outputs) in zip(seen.entered, seen.left, strict=True):
        assert torch.allclose(inputs @ torch.from_numpy(source.weights[name]).T, outputs, atol=1e-4), name


def test_replacing_what_enters_or_leaves_changes_what_follows_and_nothing_before() -> None:
    model = reference("Gemma 3")
    weight = f"{LAYER}2.mlp.down_proj.weight"

    def outputs(watch: Scaled | None) -> list[Tensor]:
        found = []
        with model.walk(*batches(1)) as walk:
            walk.start()
            for layer in walk.layers():
                layer.advance(watch)
                found.append(walk.hidden(0))
        return found

    plain, entered, left = outputs(None), outputs(Scaled(weight, 3, 1)), outputs(Scaled(weight, 1, 3))
    for changed in (entered, left):
        same = [torch.equal(a, b) for a, b in zip(plain, changed, strict=True)]
        assert same == [True, True] + [False] * (len(plain) - 2)
    # A linear is linear: three times the input is three times the output.
    assert torch.allclose(entered[-1], left[-1], atol=1e-4)


def test_seeing_a_layer_leaves_its_batches_where_they_are() -> None:
    model = reference("Gemma 4 E2B")
    with model.walk(*batches(2)) as walk:
        walk.start()
        for layer in walk.layers():
            first, second = Seen(), Seen()
            layer.see(first)
            before = walk.hidden(0)
            layer.see(second)
            assert torch.equal(before, walk.hidden(0))
            pairs = zip(first.entered, second.entered, strict=True)
            assert all(a == b and torch.equal(x, y) for (a, x), (b, y) in pairs)
            layer.advance()
            assert not torch.equal(before, walk.hidden(0))


def test_a_layer_that_was_not_advanced_is_a_mistake_that_is_said() -> None:
    with reference("Gemma 3").walk(*batches(1)) as walk:
        walk.start()
        with pytest.raises(ValueError, match="layer 0 was not advanced"):
            for _ in walk.layers():
                pass


@pytest.mark.parametrize("family", TINY_CONFIGS)
def test_activations_past_the_bound_wait_on_disk_and_come_back_the_same(
    family: str, tmp_path: Path
) -> None:
    model = reference(family)
    with model.walk(*batches()) as walk:
        through(walk)
        expected = [final(walk, number) for number in range(3)]
    hidden_bytes = TOKENS * expected[0].shape[-1] * 4
    spill = Spill(most=hidden_bytes, directory=tmp_path)
    with model.walk(*batches(), spill=spill) as walk:
        walk.start()
        for layer in walk.layers():
            assert 0 < spill.held_bytes <= hidden_bytes
            assert spill.spilled_bytes >= 2 * hidden_bytes
            layer.advance()
        found = [final(walk, number) for number in range(3)]
    assert all(torch.equal(a, b) for a, b in zip(expected, found, strict=True))
    assert list(tmp_path.iterdir()) == [], "what was spilled stays behind"


@dataclass(frozen=True)
class _Counted(OriginalWeights):
    """Counts how often each weight's rows are read; `factor` changes what is read of linears."""

    reads: Counter[str] = field(default_factory=Counter)
    factor: list[float] = field(default_factory=lambda: [1.0])

    def rows(self, name: str, start: int, stop: int) -> Tensor:
        self.reads[name] += 1
        rows = super().rows(name, start, stop)
        return rows * self.factor[0] if name.endswith("proj.weight") else rows


def test_a_layer_is_read_once_for_all_batches_and_anew_each_time_it_runs() -> None:
    weights = _Counted(RandomSource(tiny_gemma3()))
    name = f"{LAYER}0.mlp.down_proj.weight"
    with StreamedReference(weights).walk(*batches()) as walk:
        walk.start()
        layer = next(walk.layers())
        first, second = Seen(), Seen()
        layer.see(first)
        assert weights.reads[name] == 1
        weights.factor[0] = 2.0  # as a method does that has just quantised the layer
        layer.see(second)
        assert weights.reads[name] == 2
    at = [
        number for number, (each, _) in enumerate(first.left) if each.endswith("0.self_attn.q_proj.weight")
    ]
    assert torch.allclose(first.left[at[0]][1] * 2, second.left[at[0]][1], atol=1e-5)


def test_two_batches_read_a_module_each_rather_than_hold_the_layer_whole() -> None:
    weights = _Counted(RandomSource(tiny_gemma3()))
    with StreamedReference(weights).walk(*batches(2)) as walk:
        walk.start()
        next(walk.layers()).see(Seen())
    assert weights.reads[f"{LAYER}0.mlp.down_proj.weight"] == 2


@pytest.mark.parametrize("family", TINY_CONFIGS)
def test_a_branch_is_the_batch_with_that_layer_watched_and_the_trunk_stays_what_it_is(family: str) -> None:
    model, (batch,) = reference(family), batches(1)
    at = len(TINY_CONFIGS[family]()["layer_types"]) // 3 if family != "Gemma 1" else 1
    owned = [f"{LAYER}{at}.self_attn.k_proj.weight", f"{LAYER}{at}.mlp.up_proj.weight"]
    changes = [Scaled(name, 1.0, 2.0) for name in owned]
    with model.walk(batch) as walk:
        walk.start()
        for layer in walk.layers():
            if layer.index == at:
                assert layer.branch(0, changes) == (1, 2)
            layer.advance()
        trunk, *branches = [final(walk, number) for number in range(3)]
    with model.walk(batch) as walk:
        through(walk)
        assert torch.equal(final(walk, 0), trunk)
    for change, branch in zip(changes, branches, strict=True):
        with model.walk(batch) as walk:
            walk.start()
            for layer in walk.layers():
                layer.advance(change)
            assert torch.equal(final(walk, 0), branch)
        assert not torch.equal(branch, trunk), change.weight
