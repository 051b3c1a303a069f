"""A validation with an emulated Cortex-A76: its gates hold for an honest artifact, and can fail.

Matrix: LiteRT and ONNX, a tiny Gemma 3 in int8. Beside the honest path, each format has one that executes a
copy with one wrong scale, as kernels would that compute something else than the file says. Asserted: the
first one's gates hold, the second one's mean KL does not, and the report says what neither shows.
"""

from __future__ import annotations

import shutil
from dataclasses import replace
from pathlib import Path

import pytest

from exporter.formats.arm64_path import SAYS_NOTHING_OF, arm64_missing, arm64_path
from exporter.formats.execution_path import ExecutionPath, PathAnswer, PathOrder
from exporter.formats.table import family_of
from exporter.lowering.table import lowerings_for
from exporter.quantization.quantize import write_quantized
from exporter.validation.findings import ReleaseUnderTest
from exporter.validation.report import ValidationReport
from exporter.validation.verdict import Failed, Passed
from exporter.views.path_wording import path_sentences
from runtimes.formats import Format
from tests.corruption import litert, onnx
from tests.fakes import silent
from tests.jobs import a_job, a_plan, a_variant, validated
from tests.tiny import RandomSource, tiny_gemma3
from tests.tiny_releases import lowering_order

CPU = "cortex-a76"
FORMATS: tuple[Format, ...] = ("tflite", "onnx")
CORRUPT = {"litert": litert.corrupt, "onnx": onnx.corrupt}
TOKENS, CONTEXT = 64, 128


@pytest.fixture(scope="module")
def report(tmp_path_factory: pytest.TempPathFactory) -> ValidationReport:
    if (why := arm64_missing(CPU)) is not None:
        pytest.skip(why)
    directory, source = tmp_path_factory.mktemp("release"), RandomSource(tiny_gemma3())
    plan = a_plan(source, a_variant("int8", FORMATS, CONTEXT))
    checkpoint = write_quantized(source, plan.schemes, tmp_path_factory.mktemp("quantized"), silent)
    lowerings = lowerings_for(FORMATS)
    order = lowering_order(checkpoint, directory, context=CONTEXT)
    artifacts = tuple(
        artifact for lowering in lowerings.values() for artifact in lowering.lower(order, directory, silent)
    )
    damaged = tmp_path_factory.mktemp("damaged")
    shutil.copytree(directory, damaged, dirs_exist_ok=True)
    for artifact in artifacts:
        CORRUPT[family_of(artifact.format).name](damaged / artifact.path, "scale")

    def paths(format: Format) -> tuple[ExecutionPath, ...]:
        honest = arm64_path(family_of(format), CPU, plan.schemes.values(), plan.weight_bytes)
        return honest, _elsewhere(honest, damaged)

    job = a_job(source, (plan,), lowerings, tmp_path_factory.mktemp("scratch"), TOKENS)
    return validated(job, ReleaseUnderTest(directory, artifacts, plan, checkpoint, paths=paths))


def _elsewhere(path: ExecutionPath, directory: Path) -> ExecutionPath:
    """The same path, executing a release in another directory."""

    def run(order: PathOrder) -> PathAnswer:
        return path.run(replace(order, directory=directory))

    return replace(path, name=f"{path.name}-damaged", title=f"{path.title}, damaged", run=run)


@pytest.mark.parametrize("title", ["LiteRT", "ONNX"])
def test_an_honest_artifact_keeps_every_gate(report: ValidationReport, title: str) -> None:
    gates = {
        gate.statistic: gate for gate in report.gates if gate.subject == f"{title} on an emulated {CPU}"
    }
    assert set(gates) == {"non-finite logits", "mean KL"}
    assert all(isinstance(gate.verdict, Passed) for gate in gates.values()), gates


@pytest.mark.parametrize("title", ["LiteRT", "ONNX"])
def test_other_numbers_than_the_file_s_fail_its_mean_kl(report: ValidationReport, title: str) -> None:
    subject = f"{title} on an emulated {CPU}, damaged"
    failed = {gate.statistic for gate in report.gates if gate.subject == subject and _failed(gate.verdict)}
    assert failed == {"mean KL"}


def test_the_report_says_what_was_emulated_and_what_that_does_not_show(report: ValidationReport) -> None:
    said = [each for each in path_sentences(report) if each.startswith(f"ONNX on an emulated {CPU} (")]
    assert len(said) == 1
    assert f"executed by {CPU}, emulated by QEMU 1" in said[0]
    assert said[0].endswith(f"; {SAYS_NOTHING_OF}.")


def _failed(verdict: object) -> bool:
    return isinstance(verdict, Failed)
