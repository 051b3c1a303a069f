"""Whole validations of a tiny model through an honest lowering and session, and through wrong ones.

Each gate is shown to pass where nothing is wrong and to fail or be skipped where something is.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from exporter.errors import LoweringError
from exporter.formats.coreml import COREML
from exporter.formats.onnx import ONNX
from exporter.models.text.spec import ModelSpec
from exporter.packaging.release import Runnable, seal_release
from exporter.planning.estimates import cache_size
from exporter.planning.recipe import QualityLimit
from exporter.validation.greedy import FEWER_GREEDY_TOKENS
from exporter.validation.verdict import Failed, Passed
from runtimes.errors import ArtifactError, RuntimeUnavailable, SessionError
from runtimes.manifest import Artifact
from runtimes.session import PrefillLogits, Session
from tests.fakes import (
    ARCHIVE,
    FAKE_PREFILLS,
    SCALES,
    EagerSession,
    ForgetfulSession,
    NotANumberSession,
    SelfRunningTwinLowering,
    SelfTwinLowering,
    TwinlessLowering,
    another_mask,
    another_norm,
    another_rope,
    change_archive,
    eager_driver,
)
from tests.unit.exporter.validation.whole_validations import (
    RECIPE,
    TOKENS,
    Quantised,
    failed,
    gates,
    gates_passed,
    quantised,
    release,
    request,
    skipped,
)

__all__ = ["quantised", "release"]  # fixtures

LINEAR = "model.layers.2.mlp.up_proj.weight"


@pytest.mark.parametrize("prefill", FAKE_PREFILLS)
def test_an_honest_artifact_passes_every_gate(
    prefill: PrefillLogits, release: Path, quantised: Quantised
) -> None:
    report = request(release, quantised, prefill=prefill).report()
    assert {gate.kind for gate in report.gates} == {
        "weights", "lowering", "quantisation", "end to end", "execution", "degenerate", "boundaries"
    }  # fmt: skip
    assert all(isinstance(gate.verdict, Passed) for gate in report.gates), report.gates
    assert (report.outcome, report.exit_code) == ("passed", 0)
    (kernels,) = [each for each in report.comparisons if each.kind == "kernels"]
    assert kernels.statistics.max_kl < 1e-9, "the eager session computes with the twin's own numbers"
    price, *user = [each for each in report.comparisons if each.kind in ("quantisation", "end to end")]
    assert user[0].statistics.mean_kl == pytest.approx(price.statistics.mean_kl, rel=1e-3)
    assert price.statistics.mean_kl > 1e-5
    (run,) = report.runs
    assert run.bytes == (release / ARCHIVE).stat().st_size
    assert run.cache == cache_size(quantised.source.components["text"].spec, run.context, 1, ONNX)
    assert run.decode_tokens_per_second is not None
    assert run.prefill_tokens_per_second is not None
    assert run.greedy[0].tokens == FEWER_GREEDY_TOKENS, "fewer tokens were asked for"
    assert 0 < run.greedy[0].agreed <= FEWER_GREEDY_TOKENS
    assert list((release.parent / "scratch").iterdir()) == [], "everything big was deleted"


def test_one_wrong_scale_fails_the_weights_and_the_lowering(release: Path, quantised: Quantised) -> None:
    asked = request(release, quantised)
    change_archive(release / ARCHIVE, LINEAR + SCALES, (3, 0), 1.5)
    report = asked.report()
    assert {"weights", "lowering"} <= failed(report)
    assert [gate.verdict for gate in gates(report, "weights")] == [Failed(1, 0, "numbers")]
    assert report.exit_code == 1


@pytest.mark.parametrize("change", [another_rope, another_mask, another_norm])
def test_a_wrong_graph_fails_the_lowering(
    change: Callable[[ModelSpec], ModelSpec], release: Path, quantised: Quantised
) -> None:
    report = request(release, quantised, change=change).report()
    assert "lowering" in failed(report)
    assert "weights" not in failed(report)


def test_a_wrong_norm_gain_in_the_file_fails_the_lowering(release: Path, quantised: Quantised) -> None:
    asked = request(release, quantised)
    change_archive(release / ARCHIVE, "model.layers.3.self_attn.q_norm.weight", (0,), 1.5)
    assert "lowering" in failed(asked.report())


def test_logits_that_are_not_numbers_fail(release: Path, quantised: Quantised) -> None:
    report = request(release, quantised, session=NotANumberSession).report()
    assert {"execution", "lowering", "end to end"} <= failed(report)
    (finite,) = [gate for gate in gates(report, "execution") if gate.statistic == "non-finite logits"]
    assert isinstance(finite.verdict, Failed)
    assert finite.verdict.measured == 2 * (TOKENS - 1 - 4) * 512


def test_an_artifact_that_depends_on_how_it_was_fed_fails(release: Path, quantised: Quantised) -> None:
    report = request(release, quantised, session=ForgetfulSession).report()
    (hand_over,) = [gate for gate in gates(report, "execution") if "hand-over" in gate.subject]
    assert isinstance(hand_over.verdict, Failed)
    assert not any(isinstance(gate.verdict, Failed) for gate in gates(report, "end to end"))


def test_a_recipe_that_costs_more_than_it_may_fails(release: Path, quantised: Quantised) -> None:
    strict = QualityLimit(1e-9, 1.0, "nobody can")
    asked = request(release, quantised).of_recipe(
        replace(RECIPE, quantisation=strict, end_to_end={"onnx": strict})
    )
    assert {"quantisation", "end to end"} <= failed(asked.report())


def test_without_a_twin_the_result_is_inconclusive(release: Path, quantised: Quantised) -> None:
    report = request(release, quantised, lowering=TwinlessLowering()).report()
    assert "without a float form" in skipped(report)["lowering"]
    assert not failed(report)
    assert report.exit_code == 3


def test_an_artifact_that_is_its_own_twin_is_run_once_for_both(release: Path, quantised: Quantised) -> None:
    report = request(release, quantised, lowering=SelfTwinLowering()).report()
    assert report.outcome == "passed"
    assert len(gates(report, "lowering")) == 2
    assert not [each for each in report.comparisons if each.kind == "kernels"]


def test_a_twin_that_takes_whole_routes_is_compared_as_any_other(
    release: Path, quantised: Quantised
) -> None:
    spec = quantised.checkpoint.components["text"].spec
    report = request(release, quantised, lowering=SelfRunningTwinLowering(spec)).report()
    assert report.outcome == "passed"
    assert len(gates(report, "lowering")) == 2
    (kernels,) = [each for each in report.comparisons if each.kind == "kernels"]
    assert kernels.statistics.max_kl < 1e-9
    assert list((release.parent / "scratch").iterdir()) == [], "what the twin left was deleted"
    wrong = SelfRunningTwinLowering(another_mask(spec))
    assert failed(request(release, quantised, lowering=wrong).report()) == {"lowering"}


@pytest.mark.parametrize(
    "error",
    [
        SessionError("the context is exceeded"),
        ArtifactError("stage 3 is refused"),
        RuntimeUnavailable("not installed"),
        LoweringError("scratch", "a stage cannot be kept there", "free some space"),
    ],
)
def test_a_twin_that_stops_on_its_way_leaves_the_lowering_unjudged(
    error: Exception, release: Path, quantised: Quantised
) -> None:
    lowering = SelfRunningTwinLowering(quantised.checkpoint.components["text"].spec, error)
    report = request(release, quantised, lowering=lowering).report()
    assert str(error) in skipped(report)["lowering"]
    assert not gates_passed(report, "lowering")
    assert report.exit_code == 3
    assert list((release.parent / "scratch").iterdir()) == []


def test_a_run_in_half_precision_is_held_against_the_one_in_single(
    release: Path, quantised: Quantised
) -> None:
    single = eager_driver(quantised.checkpoint.components["text"].spec)
    half = replace(
        COREML.drivers[1],
        open=eager_driver(another_mask(quantised.checkpoint.components["text"].spec)).open,
    )
    asked = request(release, quantised, lowering=SelfTwinLowering())
    artifacts = tuple(replace(artifact, format="coreml") for artifact in asked.release.artifacts)
    asked = asked.of_job(lowerings={"coreml": SelfTwinLowering()}).of_release(
        artifacts=artifacts, drivers=lambda _: (single, half)
    )
    report = asked.report()
    (kernels,) = [each for each in report.comparisons if each.kind == "kernels"]
    assert kernels.statistics.mean_kl > 1e-5, "the fake half precision sees one token more"
    assert len(report.runs) == 2
    assert len(gates(report, "lowering")) == 4


def test_a_sealed_release_is_held_against_its_manifest(release: Path, quantised: Quantised) -> None:
    asked = request(release, quantised).of_release(sealed=True)
    plan, artifacts = asked.release.plan, asked.release.artifacts
    seal_release(release, source=quantised.source, plan=plan, runnable=Runnable(artifacts), versions={})
    assert isinstance(gates(asked.report(), "files")[0].verdict, Passed)
    change_archive(release / ARCHIVE, LINEAR + SCALES, (3, 0), 1.0001)
    report = asked.report()
    assert "files" in failed(report)
    assert any(ARCHIVE in sentence for sentence in report.not_checked)


def test_a_damaged_artifact_fails_instead_of_stopping_the_validation(
    release: Path, quantised: Quantised
) -> None:
    asked = request(release, quantised, lowering=SelfTwinLowering())
    (release / ARCHIVE).write_bytes(b"PK\x03\x04 and no more")
    report = asked.report()
    assert failed(report) == {"weights", "execution"}
    assert any("is damaged" in sentence for sentence in report.not_checked)
    assert report.runs == ()


def test_a_runtime_that_is_not_installed_is_a_skip(release: Path, quantised: Quantised) -> None:
    def absent(directory: Path, artifact: Artifact) -> Session:
        raise RuntimeUnavailable("eager torch is not installed")

    drivers = (replace(ONNX.drivers[0], open=absent),)
    report = request(release, quantised).of_release(drivers=lambda _: drivers).report()
    assert set(skipped(report)) == {"lowering", "execution", "boundaries", "end to end"}
    assert report.exit_code == 3


def test_logits_of_another_vocabulary_fail(release: Path, quantised: Quantised) -> None:
    class Narrow(EagerSession):
        def __init__(self, spec: ModelSpec, weights: object, facts: object) -> None:
            super().__init__(spec, weights, replace(facts, vocab_size=500))  # type: ignore[arg-type, type-var]  # as given

    report = request(release, quantised, session=Narrow).report()
    assert "execution" in failed(report)
    assert any("returns logits of 500 tokens" in sentence for sentence in report.not_checked)


def test_little_text_is_said_to_be_little(release: Path, quantised: Quantised) -> None:
    report = request(release, quantised).of_job(token_limit=13).report()
    assert any("Only the first 13 of" in sentence for sentence in report.not_checked)
    assert any("do not reach past the sliding window of 16" in sentence for sentence in report.not_checked)
    assert report.text_tokens == 13
