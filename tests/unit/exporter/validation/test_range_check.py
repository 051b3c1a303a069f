"""A stream too near the end of half precision fails a release, at the scale its graph keeps it at."""

from __future__ import annotations

import math
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from exporter.formats.litert import LITERT_STREAM
from exporter.formats.residual import LARGEST_FP16
from exporter.lowering.table import lowerings_for
from exporter.models.published import published_spec
from exporter.quantization.quantize import write_quantized
from exporter.reference.peak import SCORES, Peak, Side
from exporter.validation.findings import ReleaseUnderTest
from exporter.validation.range_check import range_gates
from exporter.validation.report import Gate
from exporter.validation.verdict import Failed, Passed, Skipped
from tests.fakes import silent
from tests.jobs import a_job, a_plan, a_variant, validated
from tests.tiny import RandomSource, tiny_gemma1
from tests.tiny_releases import lowering_order

UNSCALED = replace(LITERT_STREAM, smallest=1.0)


def peak(module: str, side: Side, largest: float) -> Peak:
    return Peak(module, side, 3, largest)


def gates(model: str, *peaks: Peak, scaled: bool = True) -> tuple[Gate, Gate, Gate]:
    """The stream's, the others' and the scores'; there is always one of each."""
    plain = (peak("norm", "in", 1.0), peak("mlp.up_proj", "out", 1.0), peak(SCORES, "out", 1.0))
    stream = LITERT_STREAM if scaled else UNSCALED
    first, second, third = range_gates("model.tflite", published_spec(model), stream, (*plain, *peaks))
    return first, second, third


@pytest.mark.parametrize(("model", "known"), [("gemma-3-270m", 1.04e5), ("gemma-3-4b", 2.9e5)])
def test_the_extremes_known_of_gemma_3_pass_scaled_and_fail_unscaled(model: str, known: float) -> None:
    stream = peak("pre_feedforward_layernorm", "in", known)
    assert isinstance(gates(model, stream)[0].verdict, Passed)
    assert isinstance(gates(model, stream, scaled=False)[0].verdict, Failed)


@pytest.mark.parametrize("module", ["input_layernorm", "pre_feedforward_layernorm", "norm"])
def test_the_stream_has_to_stay_a_factor_of_four_below_the_end(module: str) -> None:
    scale = LITERT_STREAM.scale(published_spec("gemma-3-270m"))
    for share, expected in ((0.249, Passed), (0.251, Failed)):
        verdict = gates("gemma-3-270m", peak(module, "in", LARGEST_FP16 * share / scale))[0].verdict
        assert isinstance(verdict, expected)


def test_everything_else_has_to_fit() -> None:
    for largest, expected in ((6e4, Passed), (7e4, Failed)):
        for module, side in (("mlp.down_proj", "in"), ("mlp.down_proj", "out"), ("self_attn.k_norm", "in")):
            verdict = gates("gemma-3-270m", peak(module, side, largest))[1].verdict  # type: ignore[arg-type]
            assert isinstance(verdict, expected)


def test_attention_scores_have_to_fit_and_are_judged_by_themselves() -> None:
    for largest, expected in ((6e4, Passed), (7e4, Failed), (math.nan, Failed)):
        stream, others, scores = gates("gemma-3-270m", peak(SCORES, "out", largest))
        assert isinstance(scores.verdict, expected)
        assert isinstance(stream.verdict, Passed)
        assert isinstance(others.verdict, Passed)


def test_scores_that_were_not_seen_are_not_passed() -> None:
    seen = (peak("norm", "in", 1.0), peak("mlp.up_proj", "out", 1.0))
    *_, scores = range_gates("model.tflite", published_spec("gemma-3-270m"), LITERT_STREAM, seen)
    assert isinstance(scores.verdict, Skipped)


def test_what_joins_the_stream_is_held_at_its_scale() -> None:
    joining = peak("post_feedforward_layernorm", "out", 2e5)
    assert isinstance(gates("gemma-3-270m", joining)[1].verdict, Passed)
    assert isinstance(gates("gemma-3-270m", joining, scaled=False)[1].verdict, Failed)


def test_without_post_norms_branches_join_as_they_come() -> None:
    assert isinstance(gates("gemma-2b", peak("mlp.down_proj", "out", 2e5))[1].verdict, Passed)
    assert isinstance(gates("gemma-3-270m", peak("mlp.down_proj", "out", 2e5))[1].verdict, Failed)


def test_what_is_no_number_fails() -> None:
    assert isinstance(gates("gemma-3-270m", peak("norm", "in", math.nan))[0].verdict, Failed)
    assert isinstance(gates("gemma-3-270m", peak("mlp.up_proj", "in", math.nan))[1].verdict, Failed)


@pytest.mark.parametrize(("factor", "expected"), [(1.0, Passed), (1e6, Failed)])
def test_a_litert_release_is_judged_by_what_transformers_computes(
    factor: float, expected: type, tmp_path: Path
) -> None:
    """Of an embedding so large, only the stream grows: every norm makes the same of it."""
    source = RandomSource({**tiny_gemma1(), "tie_word_embeddings": False})
    source.weights["model.embed_tokens.weight"] *= np.float32(factor)
    plan = a_plan(source, a_variant("int8", ("tflite",)))
    release = tmp_path / "release"
    release.mkdir()
    (tmp_path / "scratch").mkdir()
    checkpoint = write_quantized(source, plan.schemes, tmp_path / "quantised", silent)
    lowerings = lowerings_for(("tflite",))
    artifacts = lowerings["litert"].lower(lowering_order(checkpoint, release, context=64), release, silent)
    job = a_job(source, (plan,), lowerings, tmp_path / "scratch", 40)
    report = validated(job, ReleaseUnderTest(release, artifacts, plan, checkpoint, paths=lambda _: ()))
    stream, others, scores = (gate for gate in report.gates if gate.kind == "range")
    assert isinstance(stream.verdict, expected)
    assert isinstance(others.verdict, Passed)
    assert isinstance(scores.verdict, Passed)
    assert {each.module for each in report.activations} >= {
        "input_layernorm",
        "mlp.down_proj",
        "norm",
        SCORES,
    }
