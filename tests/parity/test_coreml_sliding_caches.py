"""Sliding caches of window size in the written package, against the eager decoder, however it is fed.

Matrix: family x ways of splitting the whole context into calls, in fp32 arithmetic, on one package each;
for Gemma 3 also contexts around the cache's size and windows below it, and Apple's driver on the same
program. Not asserted here: fp16 (test_coreml_decoder), Apple's runtime.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import coremltools
import numpy as np
import pytest
from numpy.typing import NDArray

from exporter.formats.coreml import STATE_MULTIPLE
from exporter.schemes import FP16
from runtimes.coreml.session import CoreMlSession
from runtimes.mil.execution import Execution
from runtimes.mil.session import MilSession
from runtimes.session import Tokens
from tests.parity.coreml_packages import (
    CASES,
    CONTEXT,
    Case,
    Lowered,
    eager_logits,
    lower,
    lowered,
    two_layers,
)
from tests.tiny import WINDOW, RandomSource
from tests.tiny_releases import mean_kl

FP32_LIMIT = 1e-5
TEXT = np.random.default_rng(7).integers(6, 262, CONTEXT).astype(np.int32)
SLOTS = STATE_MULTIPLE  # of a window of 16
SIZES = {
    "all at once": [CONTEXT],
    "as long as the window": [WINDOW] * 4,
    "as long as the cache": [SLOTS] * 2,
    "longer than the window": [20, 20, 20, 4],
    "shorter, then decodes": [13, 13, 13, *[1] * 25],
    "in turns": [5, 1, 1, 30, 1, 1, 20, 1, 1, 1, 1, 1],
}


def fed(session: MilSession | CoreMlSession, tokens: Tokens, sizes: list[int]) -> NDArray[np.float32]:
    """Logits [tokens, vocab] of tokens passed in these numbers at once."""
    found, at = [], 0
    for count in sizes:
        part = tokens[at : at + count]
        found.append(session.prefill(part) if count > 1 else session.decode(int(part[0]))[None])
        at += count
    return np.concatenate(found)


def states(package: Path) -> dict[str, list[int]]:
    """Shape of every state, as coremltools reads the package."""
    spec = coremltools.utils.load_spec(str(package))
    return {entry.name: list(entry.type.stateType.arrayType.shape) for entry in spec.description.state}


@pytest.mark.parametrize("family", CASES)
def test_a_state_is_as_long_as_what_its_layers_see(family: str) -> None:
    built = lowered(family)
    wanted: dict[tuple[int, int, int], int] = {}
    for layer in built.checkpoint.components["text"].spec.cache_layers:
        slots = CONTEXT if layer.window is None else SLOTS
        shape = (layer.kv_heads, slots, layer.head_dim)
        wanted[shape] = wanted.get(shape, 0) + 1
    found = states(built.package)
    for kind in ("key", "value"):
        shapes = [shape for name, shape in found.items() if name.startswith(kind)]
        assert {tuple(shape[2:]): shape[0] for shape in shapes} == wanted
        assert f"{kind}Cache" in found, "the name swift-transformers looks for"
    sizes = {slots for _, slots, _ in wanted}
    assert sizes == ({CONTEXT} if family == "Gemma 1" else {SLOTS, CONTEXT})


@pytest.mark.parametrize("family", CASES)
@pytest.mark.parametrize("sizes", SIZES.values(), ids=SIZES)
def test_however_a_text_is_fed_its_logits_are_the_decoders(family: str, sizes: list[int]) -> None:
    built = lowered(family)
    with MilSession.open(built.package) as session:
        found = fed(session, TEXT, sizes)
        assert session.position == CONTEXT
    assert mean_kl(eager_logits(built.checkpoint, TEXT), found) <= FP32_LIMIT


def test_token_by_token_from_the_first() -> None:
    built = lowered("Gemma 3")
    with MilSession.open(built.package) as session:
        found = fed(session, TEXT, [1] * CONTEXT)
    assert mean_kl(eager_logits(built.checkpoint, TEXT), found) <= FP32_LIMIT


def test_a_reset_session_knows_nothing_of_the_window_before() -> None:
    with MilSession.open(lowered("Gemma 4 E2B").package) as session:
        first = fed(session, TEXT[:40], [30, 10])
        session.reset()
        np.testing.assert_array_equal(fed(session, TEXT[:40], [30, 10]), first)


@pytest.mark.parametrize("window", [WINDOW, SLOTS - 1, SLOTS])
@pytest.mark.parametrize("context", [SLOTS - 3, SLOTS, SLOTS + 1, CONTEXT])
def test_contexts_around_the_size_of_a_cache_that_is_the_window_or_more(window: int, context: int) -> None:
    built = lower(Case({**two_layers(), "sliding_window": window}, FP16, FP16), context)
    slots = {shape[3] for shape in states(built.package).values()}
    assert slots == {min(SLOTS, context), context}
    tokens = TEXT[:context]
    reference = eager_logits(built.checkpoint, tokens)
    with MilSession.open(built.package) as session:
        for sizes in ([context], [context - 1, 1], [2, *[1] * (context - 2)]):
            session.reset()
            assert mean_kl(reference, fed(session, tokens, sizes)) <= FP32_LIMIT


class EvaluatedModel:
    """Stands in for coremltools' MLModel: Apple's driver on the MIL evaluator's results."""

    def __init__(self, package: Path) -> None:
        self._package = package

    def make_state(self) -> Execution:
        return Execution.open(self._package, "fp16")

    def predict(self, data: Any, state: Execution) -> dict[str, NDArray[Any]]:
        return state.run({name: np.asarray(value) for name, value in data.items()})


def test_apples_driver_makes_the_same_calls_as_the_evaluators() -> None:
    built: Lowered = lowered("Gemma 3")
    with MilSession.open(built.package, "fp16", prefill_chunk=built.artifact.prefill_chunk) as session:
        expected, facts = fed(session, TEXT, [50, *[1] * 14]), session.facts
    assert facts.prefill_chunk > WINDOW
    with CoreMlSession(EvaluatedModel(built.package), facts) as apples:
        np.testing.assert_array_equal(fed(apples, TEXT, [50, *[1] * 14]), expected)


def test_the_fixtures_fill_the_context_and_pass_several_windows() -> None:
    assert all(sum(sizes) == CONTEXT for sizes in SIZES.values())
    assert CONTEXT >= 4 * WINDOW
    assert max(SIZES["longer than the window"]) > WINDOW
    assert max(SIZES["in turns"]) < SLOTS < max(SIZES["all at once"])
    kinds = {layer.window for layer in RandomSource(two_layers()).components["text"].spec.layers}
    assert kinds == {WINDOW, None}


def test_a_mask_of_the_callers_lines_up_with_what_is_left_of_the_cache() -> None:
    """A causal mask, counted from position 0, changes nothing; hiding the one before last does."""
    package = lowered("Gemma 3").package
    plain, causal, hiding = (Execution.open(package, "fp32") for _ in range(3))
    for start, end in ((0, 24), (24, 41), (41, 42), (42, 50)):
        rows, columns = np.arange(start, end)[:, None], np.arange(end)
        zeros = np.zeros((1, 1, end - start, end), np.float32)
        future = np.where(columns > rows, -np.inf, zeros).astype(np.float32)
        previous = np.where(columns == rows - 1, np.float32(-1e4), zeros)
        tokens = TEXT[None, start:end]
        expected, same, other = (
            execution.run({"inputIds": tokens, "causalMask": mask})["logits"]
            for execution, mask in ((plain, zeros), (causal, future), (hiding, previous))
        )
        np.testing.assert_allclose(same, expected, atol=1e-5)
        assert np.abs(other - expected).max() > 0.1
