"""Whole validations of a tiny model through an honest lowering and session, and through wrong ones.

Each gate is shown to pass where nothing is wrong and to fail or be skipped where something is.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from exporter.errors import LoweringError
from exporter.formats.coreml import COREML
from exporter.formats.onnx import ONNX
from exporter.job import Job
from exporter.lowering.interface import LoweringOrder
from exporter.models.text.spec import ModelSpec
from exporter.packaging.release import seal_release
from exporter.planning.estimates import cache_size
from exporter.planning.plan import Plan
from exporter.planning.recipe import Equalization, QualityLimit, Recipe
from exporter.quantization.quantize import write_quantized
from exporter.quantization.store.checkpoint import QuantizedCheckpoint
from exporter.quantization.transforms.equalization import equalize
from exporter.reference.activations import input_sizes
from exporter.validation.findings import ReleaseUnderTest
from exporter.validation.greedy import FEWER_GREEDY_TOKENS
from exporter.validation.report import Gate, Kind, ValidationReport
from exporter.validation.verdict import Failed, Passed, Skipped
from runtimes.errors import ArtifactError, RuntimeUnavailable, SessionError
from runtimes.manifest import Artifact
from runtimes.session import PrefillLogits, Session
from tests.fakes import (
    ARCHIVE,
    FAKE_PREFILLS,
    SCALES,
    ArchiveLowering,
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
    silent,
)
from tests.jobs import a_job, a_plan, a_variant, validated
from tests.tiny import RandomSource, tiny_gemma3
from tests.tiny_releases import MADE_FROM

LIMIT = QualityLimit(0.05, 0.8, "what int8 costs a random model")
HOW = Equalization(weights=0.25, activations=0.5, embedding=1.0, reason="as the int8 recipe")
RECIPE = Recipe("tiny", "for tests", "", (), HOW, None, LIMIT, {"onnx": LIMIT})
LINEAR = "model.layers.2.mlp.up_proj.weight"
TOKENS = 97


@dataclass(frozen=True)
class Quantised:
    source: RandomSource
    plan: Plan
    checkpoint: QuantizedCheckpoint
    tokenizer: Path


@pytest.fixture(scope="module")
def quantised(tmp_path_factory: pytest.TempPathFactory) -> Quantised:
    directory = tmp_path_factory.mktemp("quantised")
    source = RandomSource(tiny_gemma3())
    plan = a_plan(source, a_variant("int8", ("onnx",)))
    source.write_tokenizer(directory)
    seen = input_sizes(source, np.arange(6, 70, dtype=np.int32), silent)
    checkpoint = write_quantized(equalize(source, seen, HOW), plan.schemes, directory / "q", silent)
    return Quantised(source, plan, checkpoint, directory)


@pytest.fixture
def release(tmp_path: Path) -> Path:
    (tmp_path / "release").mkdir()
    (tmp_path / "scratch").mkdir()
    return tmp_path / "release"


@dataclass(frozen=True)
class Asked:
    """A job of one variant and a release to validate by it."""

    job: Job
    release: ReleaseUnderTest

    def report(self) -> ValidationReport:
        return validated(self.job, self.release)

    def of_recipe(self, recipe: Recipe) -> Asked:
        variant = replace(self.release.plan.variant, recipe=recipe)
        return self.of_release(plan=replace(self.release.plan, variant=variant))

    def of_release(self, **changes: Any) -> Asked:
        return replace(self, release=replace(self.release, **changes))

    def of_job(self, **changes: Any) -> Asked:
        return replace(self, job=replace(self.job, **changes))


def request(
    release: Path,
    quantised: Quantised,
    *,
    lowering: ArchiveLowering | None = None,
    prefill: PrefillLogits = "all",
    session: type[EagerSession] = EagerSession,
    change: Callable[[ModelSpec], ModelSpec] = lambda spec: spec,
    context: int = 128,
) -> Asked:
    """An artifact lowered into `release`, and everything needed to validate it."""
    lowering = lowering or ArchiveLowering()
    checkpoint = quantised.checkpoint
    artifacts = lowering.lower(
        LoweringOrder(checkpoint, context, 8, prefill, quantised.tokenizer, 2, (1,), None, None, MADE_FROM),
        release,
        silent,
    )
    plan = replace(quantised.plan, variant=a_variant(RECIPE, ("onnx",), context=context))
    drivers = (eager_driver(change(checkpoint.components["text"].spec), session),)
    return Asked(
        a_job(quantised.source, (plan,), {"onnx": lowering}, release.parent / "scratch", TOKENS),
        ReleaseUnderTest(release, artifacts, plan, checkpoint, drivers=lambda _: drivers),
    )


def gates(report: ValidationReport, kind: Kind) -> list[Gate]:
    return [gate for gate in report.gates if gate.kind == kind]


def gates_passed(report: ValidationReport, kind: Kind) -> list[Gate]:
    return [gate for gate in gates(report, kind) if isinstance(gate.verdict, Passed)]


def failed(report: ValidationReport) -> set[Kind]:
    return {gate.kind for gate in report.gates if isinstance(gate.verdict, Failed)}


def skipped(report: ValidationReport) -> dict[Kind, str]:
    return {gate.kind: gate.verdict.reason for gate in report.gates if isinstance(gate.verdict, Skipped)}


@pytest.mark.parametrize("prefill", FAKE_PREFILLS)
def test_an_honest_artifact_passes_every_gate(
    prefill: PrefillLogits, release: Path, quantised: Quantised
) -> None:
    report = request(release, quantised, prefill=prefill).report()
    assert {gate.kind for gate in report.gates} == {
        "weights", "lowering", "quantisation", "end to end", "execution"
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
    seal_release(release, source=quantised.source, plan=plan, artifacts=artifacts, versions={})
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
    assert set(skipped(report)) == {"lowering", "execution", "end to end"}
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
    assert any("Only 12 of" in sentence for sentence in report.not_checked)
    assert any("do not reach past the sliding window of 16" in sentence for sentence in report.not_checked)
    assert report.text_tokens == 13
