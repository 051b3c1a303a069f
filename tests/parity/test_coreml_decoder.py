"""The written Core ML package, run by the MIL evaluator, against the eager decoder.

Matrix: family x (fp32, fp16) through chunked prefill past the window, then decode; and for Gemma 3 the
calls of other callers: one prefill longer than the window, swift-transformers' mask, a caller's own
mask. Not asserted here: Apple's runtime, transformers, quantisation.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from exporter.formats.coreml import COREML_STREAM
from exporter.lowering.coreml.binding import bind
from exporter.lowering.coreml.cache_states import cache_groups
from exporter.lowering.coreml.conversion import convert
from exporter.lowering.coreml.package import write_package
from exporter.quantization.store.checkpoint import QuantizedCheckpoint
from exporter.schemes import FP16
from runtimes.mil.arithmetic import ArithmeticName
from runtimes.mil.execution import Execution
from runtimes.mil.session import MilSession
from tests.parity.coreml_packages import (
    CASES,
    CONTEXT,
    TOKENS,
    Case,
    Lowered,
    eager_logits,
    lowered,
    quantized,
    two_layers,
)
from tests.tiny import WINDOW, RandomSource
from tests.tiny_releases import mean_kl

FP32_LIMIT, FP16_LIMIT = 1e-5, 1e-3
GEMMA3_FP32_LIMIT = 1e-6
PREFILLED = 40

Call = tuple[slice, NDArray[np.floating[Any]]]


def run_session(lowered: Lowered, arithmetic: ArithmeticName) -> tuple[NDArray[np.float32], int]:
    """Logits of TOKENS, chunked prefill then decode, and the count of results that were not finite."""
    with MilSession.open(lowered.package, arithmetic, prefill_chunk=WINDOW - 3) as session:
        pieces = [session.prefill(TOKENS[:PREFILLED])]
        pieces += [session.decode(int(token))[None] for token in TOKENS[PREFILLED:]]
        return np.concatenate(pieces), sum(session.non_finite.values())


def run_calls(package: Path, calls: list[Call]) -> NDArray[np.float32]:
    """Logits of predictions made directly: (which tokens, causalMask) in order."""
    execution = Execution.open(package, "fp32")
    outputs = [
        execution.run({"inputIds": TOKENS[None, part], "causalMask": mask.astype(np.float32)})["logits"][0]
        for part, mask in calls
    ]
    return np.concatenate(outputs)


@pytest.mark.parametrize("family", CASES)
@pytest.mark.parametrize("arithmetic", ["fp32", "fp16"])
def test_the_package_computes_what_the_eager_decoder_does(family: str, arithmetic: ArithmeticName) -> None:
    package = lowered(family)
    logits, non_finite = run_session(package, arithmetic)
    limit = FP32_LIMIT if arithmetic == "fp32" else FP16_LIMIT
    assert mean_kl(eager_logits(package.checkpoint), logits) <= limit
    assert non_finite == 0


def test_one_prefill_may_be_longer_than_the_window() -> None:
    package = lowered("Gemma 3")
    assert len(TOKENS) > 3 * WINDOW
    count = len(TOKENS)
    logits = run_calls(package.package, [(slice(0, count), np.zeros((1, 1, count, count)))])
    assert mean_kl(eager_logits(package.checkpoint), logits) <= GEMMA3_FP32_LIMIT


def test_the_mask_of_swift_transformers_gives_right_logits() -> None:
    """Zeros [1, 1, 1, tokens so far + 1], at prefill too (LanguageModel.swift, predictNextTokenScores)."""
    package = lowered("Gemma 3")
    calls: list[Call] = [(slice(0, PREFILLED), np.zeros((1, 1, 1, PREFILLED + 1)))]
    for at in range(PREFILLED, len(TOKENS)):
        calls.append((slice(at, at + 1), np.zeros((1, 1, 1, at + 2))))
    logits = run_calls(package.package, calls)
    assert mean_kl(eager_logits(package.checkpoint), logits) <= GEMMA3_FP32_LIMIT


def test_a_slot_that_was_never_written_is_what_keeps_that_mask_right() -> None:
    """The test above bites: with something in slot 0 its logits are other ones."""
    package = lowered("Gemma 3")
    calls: list[Call] = [(slice(0, 8), np.zeros((1, 1, 1, 9)))]
    empty = run_calls(package.package, calls)
    first: Call = (slice(20, 21), np.zeros((1, 1, 1, 1)))
    written = run_calls(package.package, [first, *calls])[1:]
    assert np.abs(empty - written).max() > 0.1


def test_a_causal_mask_from_the_caller_changes_nothing() -> None:
    package = lowered("Gemma 3")
    count = 24
    causal = np.triu(np.full((count, count), -np.inf), 1)[None, None]
    plain = run_calls(package.package, [(slice(0, count), np.zeros((1, 1, count, count)))])
    masked = run_calls(package.package, [(slice(0, count), causal)])
    np.testing.assert_allclose(masked, plain, atol=1e-5)


def test_a_position_the_caller_masks_is_not_seen() -> None:
    package = lowered("Gemma 3")
    count = 8
    hidden = np.zeros((1, 1, count, count))
    hidden[..., 2:, 1] = -1e4
    plain = run_calls(package.package, [(slice(0, count), np.zeros((1, 1, count, count)))])
    masked = run_calls(package.package, [(slice(0, count), hidden)])
    np.testing.assert_allclose(masked[:2], plain[:2], atol=1e-5)
    assert np.abs(masked[2:] - plain[2:]).max() > 0.1


def test_the_fixtures_have_what_they_claim() -> None:
    groups = {
        family: cache_groups(RandomSource(case.config).components["text"].spec, CONTEXT)
        for family, case in CASES.items()
    }
    assert [group.slides for group in groups["Gemma 1"]] == [False]
    for family in CASES.keys() - {"Gemma 1"}:
        assert sorted(group.slides for group in groups[family]) == [False, True]
    e2b = RandomSource(CASES["Gemma 4 E2B"].config).components["text"].spec
    assert {layer.window is None for layer in e2b.layers if not layer.owns_cache} == {True, False}
    assert not RandomSource(CASES["Gemma 1"].config).components["text"].spec.tied_embedding
    assert PREFILLED > 2 * WINDOW
    assert len(TOKENS) < CONTEXT


def run_scaled(
    checkpoint: QuantizedCheckpoint, factor: float, arithmetic: ArithmeticName, directory: Path
) -> tuple[NDArray[np.float32], bool]:
    """Logits of TOKENS at this residual scale, and whether anything was not finite."""
    package = directory / f"{factor}.mlpackage"
    if not package.exists():
        program = convert(
            checkpoint.components["text"].spec, checkpoint.components["text"].gains(), CONTEXT, factor
        )
        write_package(package, program.model, bind(program, checkpoint.matrices), lambda done: None)
    with MilSession.open(package, arithmetic) as session:
        return session.prefill(TOKENS), bool(session.non_finite)


def test_a_small_residual_scale_costs_no_accuracy(tmp_path: Path) -> None:
    case = Case(two_layers(), FP16, FP16)
    checkpoint = quantized(RandomSource(case.config), case, tmp_path / "quantized")
    reference = eager_logits(checkpoint)
    costs = [
        mean_kl(reference, run_scaled(checkpoint, factor, "fp16", tmp_path)[0])
        for factor in (1.0, COREML_STREAM.smallest)
    ]
    assert costs[1] == pytest.approx(costs[0], rel=0.2)


def test_the_residual_scale_changes_no_result_but_keeps_fp16_finite(tmp_path: Path) -> None:
    case = Case(two_layers(), FP16, FP16)
    source = RandomSource(case.config)
    for layer in (0, 1):
        source.weights[f"model.layers.{layer}.post_feedforward_layernorm.weight"][:3] = 3e4
    checkpoint = quantized(source, case, tmp_path / "quantized")
    scale = COREML_STREAM.scale(checkpoint.components["text"].spec)
    arithmetics: tuple[ArithmeticName, ...] = ("fp32", "fp16")
    results = {
        (factor, arithmetic): run_scaled(checkpoint, factor, arithmetic, tmp_path)
        for factor in (1.0, scale)
        for arithmetic in arithmetics
    }
    assert scale < 1.0
    np.testing.assert_allclose(results[scale, "fp32"][0], results[1.0, "fp32"][0], atol=1e-4)
    assert results[1.0, "fp16"][1], "the residual stream of this fixture fits fp16: it proves nothing"
    assert not results[scale, "fp16"][1]
