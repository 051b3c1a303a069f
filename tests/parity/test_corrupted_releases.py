"""Validation is able to fail: one fault in one artifact, and the release is held back, the layer named.

Matrix: format × fault (scale, RoPE base, mask, norm), on a tiny model in every format, and LiteRT's two
formats × a per-layer embedding; LiteRT's float twin is run in many stages. Each fault leaves a file that
opens and runs; only the numbers are wrong. transformers is asked once for a model, as it is once for the
releases of a job. Asserted: some comparison of logits fails, not a mere checksum.
"""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest

from exporter.formats.table import family_of
from exporter.job import Job
from exporter.lowering.interface import Lowering
from exporter.lowering.litert.lowering import LiteRtLowering
from exporter.lowering.table import lowerings_for
from exporter.quantization.quantize import write_quantized
from exporter.validation.baselines import Baselines
from exporter.validation.findings import ReleaseUnderTest
from exporter.validation.first_wrong_layer import STATISTIC
from exporter.validation.report import Gate, ValidationReport
from exporter.validation.validate import validate_release
from exporter.validation.verdict import Failed
from exporter.workshop import workshop
from runtimes.formats import Format
from tests.corruption import coreml, litert, onnx
from tests.fakes import silent
from tests.jobs import a_job, a_plan, a_variant
from tests.tiny import RandomSource, tiny_gemma3, tiny_gemma4_e2b
from tests.tiny_releases import lowering_order

FORMATS: tuple[Format, ...] = ("tflite", "onnx", "coreml")
TABLE_FORMATS: tuple[Format, ...] = ("tflite", "litertlm")
FAULTS = ("scale", "rope", "mask", "norm")
WRONG_LAYER = 2  # of a scale; all other faults are in layer 0
CORRUPT_LAYER: dict[str, Callable[[Path, int], None]] = {
    "litert": litert.corrupt_layer,
    "onnx": onnx.corrupt_layer,
    "coreml": coreml.corrupt_layer,
}
CORRUPT: dict[str, Callable[..., None]] = {
    "litert": litert.corrupt,
    "onnx": onnx.corrupt,
    "coreml": coreml.corrupt,
}
TOKENS = 96
TWIN_STAGE_BYTES = 160 << 10  # less than a layer


@dataclass(frozen=True)
class Honest:
    """A tiny model released in some formats, the job to validate it by, and what transformers says."""

    job: Job
    release: ReleaseUnderTest
    baselines: Baselines

    def report(self) -> ValidationReport:
        return validate_release(self.job, self.release, self.baselines)


@contextmanager
def _honest(
    config: dict[str, Any], formats: tuple[Format, ...], places: pytest.TempPathFactory
) -> Iterator[Honest]:
    directory, source = places.mktemp("release"), RandomSource(config)
    plan = a_plan(source, a_variant("int8", formats, context=128, name="all"))
    checkpoint = write_quantized(source, plan.schemes, places.mktemp("quantized"), silent)
    lowerings = {family: _in_stages(lowering) for family, lowering in lowerings_for(formats).items()}
    order = lowering_order(checkpoint, directory, context=128)
    artifacts = tuple(
        artifact for lowering in lowerings.values() for artifact in lowering.lower(order, directory, silent)
    )
    job = a_job(source, (plan,), lowerings, places.mktemp("scratch"), TOKENS)
    with workshop(job) as shop:
        yield Honest(job, ReleaseUnderTest(directory, artifacts, plan, checkpoint), shop.baselines)


@pytest.fixture(scope="module")
def honest(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Honest]:
    with _honest(tiny_gemma3(), FORMATS, tmp_path_factory) as made:
        yield made


@pytest.fixture(scope="module")
def honest_with_tables(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Honest]:
    with _honest(tiny_gemma4_e2b(), TABLE_FORMATS, tmp_path_factory) as made:
        yield made


def test_the_honest_release_passes(honest: Honest) -> None:
    report = honest.report()
    assert report.outcome == "passed", _failed(report)


def test_the_honest_release_with_tables_is_what_its_checkpoint_says(
    honest_with_tables: Honest,
) -> None:
    report = honest_with_tables.report()
    # The random model is far more sensitive to int8 than a trained one: that is another comparison.
    assert {gate.kind for gate in _failed(report)} <= {"quantisation", "end to end"}, _failed(report)


@pytest.mark.parametrize("format", FORMATS)
@pytest.mark.parametrize("fault", FAULTS)
def test_a_fault_fails_a_comparison_of_logits_and_its_layer_is_named(
    honest: Honest, format: Format, fault: str, tmp_path: Path
) -> None:
    report = _validated_with_fault(honest, format, fault, tmp_path)
    assert report.outcome == "failed"
    assert "mean KL" in {gate.statistic for gate in _failed(report)}, _failed(report)
    layer = WRONG_LAYER if fault == "scale" else 0
    assert _named(report) == [f"model.layers.{layer}"]
    if fault == "scale":
        (weights,) = (gate for gate in _failed(report) if gate.kind == "weights")
        assert weights.subject == f"stored weights: model.layers.{layer}.mlp.down_proj.weight"


@pytest.mark.parametrize("format", TABLE_FORMATS)
def test_a_fault_in_a_per_layer_table_fails_a_comparison_with_the_checkpoint(
    honest_with_tables: Honest, format: Format, tmp_path: Path
) -> None:
    failed = _failed(_validated_with_fault(honest_with_tables, format, "table", tmp_path))
    assert ("lowering", "mean KL") in {(gate.kind, gate.statistic) for gate in failed}, failed
    assert "weights" in {gate.kind for gate in failed}


def _validated_with_fault(honest: Honest, format: Format, fault: str, tmp_path: Path) -> ValidationReport:
    release = tmp_path / "release"
    shutil.copytree(honest.release.directory, release)
    (artifact,) = (each for each in honest.release.artifacts if each.format == format)
    family = family_of(format).name
    if fault == "scale":
        CORRUPT_LAYER[family](release / artifact.path, WRONG_LAYER)
    else:
        CORRUPT[family](release / artifact.path, fault)
    return replace(
        honest, release=replace(honest.release, directory=release, artifacts=(artifact,))
    ).report()


def _named(report: ValidationReport) -> list[str]:
    """The layers that failed gates say are the first to be wrong."""
    return [gate.subject.rsplit(": ", 1)[1] for gate in _failed(report) if gate.statistic == STATISTIC]


def _in_stages(lowering: Lowering) -> Lowering:
    if isinstance(lowering, LiteRtLowering):
        return replace(lowering, twin_stage_bytes=TWIN_STAGE_BYTES)
    return lowering


def _failed(report: ValidationReport) -> list[Gate]:
    return [gate for gate in report.gates if isinstance(gate.verdict, Failed)]
