"""Validating a tiny model through an honest lowering and session, or through wrong ones: what the tests of
whole validations share.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from exporter.job import Job
from exporter.lowering.interface import LoweringOrder
from exporter.models.text.spec import ModelSpec
from exporter.planning.plan import Plan
from exporter.planning.recipe import Equalization, QualityLimit, Recipe
from exporter.quantization.quantize import write_quantized
from exporter.quantization.store.checkpoint import QuantizedCheckpoint
from exporter.quantization.transforms.equalization import equalize
from exporter.reference.activations import input_sizes
from exporter.validation.findings import ReleaseUnderTest
from exporter.validation.report import Gate, Kind, ValidationReport
from exporter.validation.verdict import Failed, Passed, Skipped
from runtimes.session import PrefillLogits
from tests.fakes import ArchiveLowering, EagerSession, eager_driver, silent
from tests.jobs import a_job, a_plan, a_variant, validated
from tests.tiny import RandomSource, tiny_gemma3
from tests.tiny_releases import MADE_FROM

LIMIT = QualityLimit(0.05, 0.8, "what int8 costs a random model")
HOW = Equalization(weights=0.25, activations=0.5, embedding=1.0, reason="as the int8 recipe")
RECIPE = Recipe("tiny", "for tests", "", (), HOW, None, LIMIT, {"onnx": LIMIT})
TOKENS = 97


@dataclass(frozen=True)
class Quantised:
    source: RandomSource
    plan: Plan
    checkpoint: QuantizedCheckpoint
    tokenizer: Path


def quantised_model(source: RandomSource, directory: Path) -> Quantised:
    """Equalised and quantised to int8 in `directory`."""
    plan = a_plan(source, a_variant("int8", ("onnx",)))
    source.write_tokenizer(directory)
    seen = input_sizes(source, np.arange(6, 70, dtype=np.int32), silent)
    checkpoint = write_quantized(equalize(source, seen, HOW), plan.schemes, directory / "q", silent)
    return Quantised(source, plan, checkpoint, directory)


@pytest.fixture(scope="module")
def quantised(tmp_path_factory: pytest.TempPathFactory) -> Quantised:
    return quantised_model(RandomSource(tiny_gemma3()), tmp_path_factory.mktemp("quantised"))


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
