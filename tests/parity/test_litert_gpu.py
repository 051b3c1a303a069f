"""LiteRT's GPU accelerator against the decoder in plain torch, on the dequantised weights, and what it must
not pass.

Matrix: families x fp32, fp16, int8, at positions past the window, prefill and decode. On a software driver
where there is no GPU. Not asserted: speed, other adapters, OpenCL, which phones' own builds prefer.
The other families and recipes: `python -m benchmarks.accelerators`.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pytest
from ai_edge_litert import schema_py_generated as schema
from torch import Tensor

from exporter.formats.execution_path import ExecutionPath, PathAnswer, PathOrder
from exporter.formats.litert import GPU_LIMITS, LITERT
from exporter.lowering.litert.operations import Operations
from exporter.lowering.table import lowerings_for
from exporter.quantization.quantize import write_quantized
from exporter.schemes import FP16, INT4_G32, INT8_CHANNEL, Scheme
from exporter.validation.findings import ReleaseUnderTest
from exporter.validation.report import PathExecution
from exporter.validation.verdict import Failed
from runtimes.errors import BeyondAdapter, ExecutionFailed
from runtimes.formats import Format
from runtimes.litert import gpu
from runtimes.open import open_session
from runtimes.session import Logits
from runtimes.vulkan import has_loader, vulkan_adapters
from tests.corruption.litert import flatten_row_constants
from tests.fakes import silent
from tests.jobs import a_job, a_plan, a_variant, validated
from tests.tiny import TINY_CONFIGS, WINDOW, RandomSource, tiny_gemma2
from tests.tiny_releases import (
    TinyRelease,
    eager_logits,
    lowering_order,
    mean_kl,
    quantized,
    some_tokens,
)
from tests.unit.exporter.lowering.litert.tiny_releases import lowered

# Between them: rings, soft caps, post norms; embedders, per-layer inputs, shared and whole caches.
FAMILIES = ("Gemma 2", "Gemma 4 E2B")
EMBEDDING_LOOKUP = schema.BuiltinOperator.EMBEDDING_LOOKUP
TOKENS, PREFILLED = some_tokens(60), 37
PATHS = {path.name: path for path in LITERT.paths}

pytestmark = pytest.mark.usefixtures("on_the_gpu")


@dataclass(frozen=True)
class Subject:
    release: TinyRelease

    def order(self, scratch: Path, format: Format = "litertlm") -> PathOrder:
        artifact = self.release.artifacts[format]
        return PathOrder(self.release.directory, artifact, TOKENS, PREFILLED, scratch, 900)

    def strays(self, answer: PathAnswer) -> float:
        return mean_kl(eager_logits(self.release.checkpoint, TOKENS)[PREFILLED:], answer.logits)


def made(directory: Path, family: str, linears: Scheme) -> Subject:
    return Subject(lowered(directory, quantized(directory, TINY_CONFIGS[family](), linears)))


@pytest.fixture(scope="module", params=FAMILIES)
def subject(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Subject:
    return made(tmp_path_factory.mktemp("gpu"), request.param, INT8_CHANNEL)


@pytest.fixture(params=PATHS.values(), ids=list(PATHS))
def path(request: pytest.FixtureRequest) -> ExecutionPath:
    found: ExecutionPath = request.param
    if (reason := found.missing()) is not None:
        pytest.skip(reason)  # a failure in CI
    return found


def test_the_tokens_decoded_lie_past_the_window() -> None:
    assert PREFILLED > WINDOW
    assert {path.mean_kl_limit for path in LITERT.paths} == set(GPU_LIMITS.values()) == {1e-6, 2e-3}


def test_every_operation_is_accelerated_and_right(
    subject: Subject, path: ExecutionPath, tmp_path: Path
) -> None:
    answer = path.run(subject.order(tmp_path))
    assert answer.left_over == ()
    assert np.isfinite(answer.logits).all()
    assert subject.strays(answer) <= path.mean_kl_limit
    assert answer.device
    assert path.name.endswith(answer.arithmetic[:4])


def test_nothing_is_written_beside_the_artifact(subject: Subject) -> None:
    """After whatever the other tests ran."""
    names = {each.name for each in subject.release.directory.iterdir()}
    assert names == {artifact.path for artifact in subject.release.artifacts.values()}


def test_a_mask_constant_of_one_axis_is_right_on_the_cpu_and_caught_here(
    subject: Subject, path: ExecutionPath, tmp_path: Path
) -> None:
    wrong = Subject(subject.release.copy(tmp_path))
    order = wrong.order(tmp_path)
    before = _on_the_cpu(order)
    assert flatten_row_constants(order.directory / order.artifact.path) > 0
    assert np.array_equal(_on_the_cpu(order), before)
    answer = path.run(order)
    assert answer.left_over == (), "it is taken whole, and wrong"
    assert wrong.strays(answer) > 100 * path.mean_kl_limit


def _on_the_cpu(order: PathOrder) -> Logits:
    with open_session(order.directory, order.artifact) as session:
        session.prefill(order.tokens[: order.prefilled])
        return np.stack([session.decode(int(token)) for token in order.tokens[order.prefilled :]])


def test_a_release_that_is_right_on_the_cpu_alone_is_failed_by_its_paths(tmp_path: Path) -> None:
    if (reason := PATHS["litert-gpu-fp32"].missing()) is not None:
        pytest.skip(reason)
    source, release = RandomSource(tiny_gemma2()), tmp_path / "release"
    release.mkdir()
    plan = a_plan(source, a_variant("int8", ("tflite",), context=96))
    checkpoint = write_quantized(source, plan.schemes, tmp_path / "quantised", silent)
    lowerings = lowerings_for(("tflite",))
    artifacts = lowerings["litert"].lower(lowering_order(checkpoint, release, context=96), release, silent)
    job = a_job(source, (plan,), lowerings, tmp_path / "scratch", 80)
    under_test = ReleaseUnderTest(release, artifacts, plan, checkpoint)
    for honest in (True, False):
        if not honest:
            assert flatten_row_constants(release / artifacts[0].path) > 0
        report = validated(job, under_test)
        gates = [gate for gate in report.gates if gate.kind == "path"]
        failed = {gate.subject for gate in gates if isinstance(gate.verdict, Failed)}
        assert {run.result.device for run in report.paths if isinstance(run.result, PathExecution)}
        assert failed == (set() if honest else {path.title for path in LITERT.paths})
        others = {gate.kind for gate in report.gates if isinstance(gate.verdict, Failed)} - {"path"}
        # The random model is far more sensitive to int8 than a trained one: that is another comparison.
        assert others <= {"quantisation", "end to end"}, "the CPU sees nothing of it"
        assert report.outcome == "passed" or others or not honest


def test_half_precision_weights_are_taken_whole_too(path: ExecutionPath, tmp_path: Path) -> None:
    subject = made(tmp_path, "Gemma 1", FP16)
    answer = path.run(subject.order(tmp_path, "tflite"))
    assert answer.left_over == ()
    assert subject.strays(answer) <= path.mean_kl_limit


def test_a_lookup_of_half_precision_is_left_over_by_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As tables were looked up once."""
    path = PATHS["litert-gpu-fp32"]
    if (reason := path.missing()) is not None:
        pytest.skip(reason)

    def looked_up(ops: Operations, rows: Tensor, table: Tensor) -> Tensor:
        shape = (rows.shape[0], table.shape[1])
        return ops.widen(ops.graph.emit(EMBEDDING_LOOKUP, [rows, table], shape, dtype=table.dtype))

    monkeypatch.setattr(Operations, "embedding", looked_up)
    answer = path.run(made(tmp_path, "Gemma 1", FP16).order(tmp_path, "tflite"))
    assert any(each.startswith("EMBEDDING_LOOKUP") for each in answer.left_over or ())


def test_integers_in_blocks_end_the_process_and_not_this_one(path: ExecutionPath, tmp_path: Path) -> None:
    with pytest.raises(ExecutionFailed, match=r"ended by SIG\w+; it printed last: .*WebGPU-based API"):
        path.run(made(tmp_path, "Gemma 1", INT4_G32).order(tmp_path, "tflite"))


def test_a_buffer_beyond_the_adapter_is_named_with_its_limit(
    subject: Subject, path: ExecutionPath, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    small = tuple(replace(each, largest_buffer=1000) for each in vulkan_adapters())
    monkeypatch.setattr(gpu, "vulkan_adapters", lambda: small)
    with pytest.raises(BeyondAdapter, match=r"needs a buffer of [\d,]+ bytes for \S+, and .* 1,000 at"):
        path.run(subject.order(tmp_path))


def test_a_hang_is_ended_with_what_it_was_at(subject: Subject, path: ExecutionPath, tmp_path: Path) -> None:
    with pytest.raises(ExecutionFailed, match=r"not done after 0.5 s and was ended; it printed last"):
        path.run(replace(subject.order(tmp_path), seconds=0.5))


def test_without_a_driver_the_paths_are_missing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("VK_DRIVER_FILES", "/dev/null")
    for each in LITERT.paths:
        reason = each.missing()
        assert reason is not None
        assert "no Vulkan adapter" in reason or not has_loader()
