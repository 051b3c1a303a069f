"""A stateful program, converted and saved by coremltools, in the MIL evaluator against torch.

fp32 arithmetic agrees with torch to fp32 rounding, through chunked prefill and cached decode past the
sliding window; fp16 arithmetic to what fp16 rounding allows. Packages that coremltools quantised
agree with what its own decompression makes of them. Not asserted: what Core ML computes on a device.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import coremltools as ct
import numpy as np
import pytest

from runtimes.mil.execution import Execution
from runtimes.mil.session import MilSession
from runtimes.mil.steps import Compute, WriteState
from tests.parity.mil_decoder import CHUNK, CONTEXT, VOCAB, WINDOW, Decoder, convert, save

TOKENS = np.random.default_rng(1).integers(0, VOCAB, 20).astype(np.int32)
PREFILLED = 14


@pytest.fixture(scope="module")
def decoder() -> Decoder:
    return Decoder()


@pytest.fixture(scope="module")
def model(decoder: Decoder) -> Any:
    return convert(decoder)


@pytest.fixture(scope="module")
def package(model: Any, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save(model, tmp_path_factory.mktemp("decoder") / "decoder.mlpackage")


@pytest.fixture(scope="module")
def expected(decoder: Decoder) -> Any:
    return decoder.logits(TOKENS.tolist())


def _all_logits(session: MilSession) -> Any:
    prefilled = session.prefill(TOKENS[:PREFILLED])
    return np.concatenate([prefilled, [session.decode(int(t)) for t in TOKENS[PREFILLED:]]])


def test_the_text_runs_past_the_window_and_the_chunk() -> None:
    assert len(TOKENS) > PREFILLED > CHUNK > WINDOW
    assert len(TOKENS) <= CONTEXT


def test_fp32_arithmetic_agrees_with_torch(package: Path, expected: Any) -> None:
    with MilSession.open(package, "fp32") as session:
        np.testing.assert_allclose(_all_logits(session), expected, rtol=1e-4, atol=1e-4)


def test_fp16_arithmetic_stays_within_fp16_rounding_of_torch(package: Path, expected: Any) -> None:
    with MilSession.open(package, "fp16") as session:
        got = _all_logits(session)
        assert session.non_finite == {}
    assert np.array_equal(got, got.astype(np.float16))
    assert 0 < np.abs(got - expected).max() < 0.02 * np.abs(expected).max()


def test_chunks_of_any_size_give_the_same_logits(package: Path, expected: Any) -> None:
    for chunk in (1, 3, CHUNK):
        with MilSession.open(package, "fp32", prefill_chunk=chunk) as session:
            np.testing.assert_allclose(session.prefill(TOKENS), expected, rtol=1e-4, atol=1e-4)


def test_a_reset_session_behaves_as_newly_opened(package: Path, expected: Any) -> None:
    with MilSession.open(package, "fp32") as session:
        session.prefill(TOKENS[::-1].copy())
        session.reset()
        assert session.position == 0
        np.testing.assert_allclose(_all_logits(session), expected, rtol=1e-4, atol=1e-4)


def test_the_caches_are_updated_without_being_copied(package: Path) -> None:
    steps = Execution.open(package, "fp32").program.steps
    computed = [step for step in steps if isinstance(step, Compute)]
    updates = [step.in_place for step in computed if step.operation.overwrites is not None]
    writes = [step.in_place for step in steps if isinstance(step, WriteState)]
    assert updates == writes == [True] * 4


@pytest.mark.parametrize(
    ("dtype", "granularity", "block"), [("int8", "per_channel", 0), ("int4", "per_block", 16)]
)
def test_a_quantised_package_agrees_with_its_own_decompression(
    model: Any, dtype: str, granularity: str, block: int, tmp_path: Path
) -> None:
    config = ct.optimize.coreml.OptimizationConfig(
        global_config=ct.optimize.coreml.OpLinearQuantizerConfig(
            mode="linear_symmetric",
            dtype=dtype,
            granularity=granularity,
            block_size=block,
            weight_threshold=0,
        )
    )
    quantized = ct.optimize.coreml.linear_quantize_weights(model, config)
    decompressed = ct.optimize.coreml.decompress_weights(quantized)
    compressed_package = save(quantized, tmp_path / "quantized.mlpackage")
    float_package = save(decompressed, tmp_path / "float.mlpackage")
    assert _has_constexpr(compressed_package)
    assert not _has_constexpr(float_package)
    with MilSession.open(float_package, "fp16") as whole:
        expected = _all_logits(whole)
    for cache in (1 << 24, 0):
        with MilSession.open(compressed_package, "fp16", weight_cache_bytes=cache) as compressed:
            np.testing.assert_allclose(_all_logits(compressed), expected, rtol=5e-3, atol=5e-3)


def _has_constexpr(package: Path) -> bool:
    data = (package / "Data" / "com.apple.CoreML" / "model.mlmodel").read_bytes()
    return b"constexpr_blockwise_shift_scale" in data
