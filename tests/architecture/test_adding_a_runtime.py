"""A runtime is its room, its lowering, its driver, and one line in each of three tables.

A toy is added in that way and taken from the plan to the verdict; nothing else of the product knows it.
"""

from __future__ import annotations

import ast
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest

import exporter
from exporter.doctor import parts
from exporter.errors import PlanError, RecipeError
from exporter.formats.family import Prompting
from exporter.formats.table import FAMILIES, facts_of
from exporter.lowering.interface import Lowering
from exporter.lowering.table import lowerings_for
from exporter.packaging.release import Runnable, participating_versions, seal_release
from exporter.planning.estimates import cache_size
from exporter.planning.memory import CalibrationSize, export_memory
from exporter.planning.plan import Plan
from exporter.planning.recipe import Recipe, parse_recipe
from exporter.quantization.quantize import write_quantized
from exporter.quantization.store.checkpoint import QuantizedCheckpoint
from exporter.validation.findings import ReleaseUnderTest
from exporter.validation.report import ValidationReport
from exporter.validation.verdict import Failed, Passed
from runtimes.formats import FORMATS
from runtimes.manifest import Artifact, read_manifest
from tests.fakes import another_mask, silent
from tests.jobs import a_job, a_plan, a_variant, validated
from tests.tiny import WINDOW, RandomSource, tiny_gemma3
from tests.tiny_releases import lowering_order
from tests.toy_runtime.driver import with_another_graph
from tests.toy_runtime.family import TOY, TOY_FORMAT
from tests.toy_runtime.lowering import ARCHIVE, MATRIX
from tests.toy_runtime.tables import add_toy

CONTEXT, CHUNK, TOKENS = 128, 8, 65
RECIPE = """description = "floats, for tests"
rule = [{ match = ["*"], scheme = "fp16", reason = "test" }]

[limits]
quantisation = { mean_kl = 1e-3, top1 = 0.9, reason = "a random model's half precision" }
end_to_end.toy = { mean_kl = 1e-3, top1 = 0.9, reason = "the same" }
"""
ROOMS = (
    "exporter/formats/",
    "exporter/lowering/litert/",
    "exporter/lowering/onnx/",
    "exporter/lowering/coreml/",
    "runtimes/litert/",
    "runtimes/onnx/",
    "runtimes/coreml/",
    "runtimes/mil/",
)
TABLES = ("exporter/lowering/table.py", "runtimes/formats.py", "runtimes/open.py")


def toy_recipe() -> Recipe:
    return parse_recipe(RECIPE, "toy", "toy.toml")


@dataclass(frozen=True)
class Made:
    """A tiny model, planned and quantised for the toy."""

    source: RandomSource
    plan: Plan
    checkpoint: QuantizedCheckpoint

    def report(self, release: Path) -> ValidationReport:
        """What a validation says of what `lower` left."""
        job = a_job(self.source, (self.plan,), self.lowerings(), release.parent / "scratch", TOKENS)
        artifacts = read_manifest(release).artifacts
        return validated(job, ReleaseUnderTest(release, artifacts, self.plan, self.checkpoint, sealed=True))

    def lower(self, release: Path) -> None:
        """A sealed release."""
        order = lowering_order(
            self.checkpoint, release, context=CONTEXT, prefill_chunk=CHUNK, prefill_logits="all"
        )
        artifacts = self.lowerings()["toy"].lower(order, release, silent)
        versions = participating_versions(self.plan.variant.formats)
        seal_release(
            release, source=self.source, plan=self.plan, runnable=Runnable(artifacts), versions=versions
        )

    def lowerings(self) -> Mapping[str, Lowering]:
        return lowerings_for(self.plan.variant.formats)


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Made:
    source = RandomSource(tiny_gemma3())
    with pytest.MonkeyPatch.context() as tables:
        add_toy(tables)
        plan = a_plan(source, a_variant(toy_recipe(), (TOY_FORMAT,), CONTEXT))
    directory = tmp_path_factory.mktemp("quantised")
    return Made(source, plan, write_quantized(source, plan.schemes, directory / "q", silent))


@pytest.fixture
def release(tmp_path: Path) -> Path:
    (tmp_path / "release").mkdir()
    return tmp_path / "release"


def failed(report: ValidationReport) -> set[str]:
    return {gate.kind for gate in report.gates if isinstance(gate.verdict, Failed)}


def test_the_toy_goes_from_plan_to_verdict_and_passes_every_gate(
    made: Made, release: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    add_toy(monkeypatch)
    made.lower(release)
    report = made.report(release)
    assert {gate.kind for gate in report.gates} == {
        "files", "weights", "lowering", "degenerate", "boundaries", "quantisation", "end to end",
        "execution",
    }  # fmt: skip
    assert all(isinstance(gate.verdict, Passed) for gate in report.gates), report.gates
    assert report.outcome == "passed"
    (run,) = report.runs
    assert (run.runtime, run.format) == ("toy", TOY_FORMAT)
    assert run.cache == cache_size(made.source.components["text"].spec, CONTEXT, CHUNK, TOY)
    assert TOKENS > WINDOW + CHUNK, "the text outgrows what a sliding layer keeps"


def test_a_toy_whose_driver_computes_something_else_fails(
    made: Made, release: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    add_toy(monkeypatch, with_another_graph(another_mask))
    made.lower(release)
    assert "lowering" in failed(made.report(release))


def test_a_toy_whose_archive_is_changed_fails(
    made: Made, release: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    add_toy(monkeypatch)
    made.lower(release)
    with np.load(release / ARCHIVE) as archive:
        arrays = dict(archive)
    arrays[f"{MATRIX}model.layers.2.mlp.up_proj.weight"][3] *= 1.5
    np.savez(release / ARCHIVE, **arrays)
    assert {"files", "weights", "lowering"} <= failed(made.report(release))


def test_planning_estimates_and_the_doctor_know_the_toy(
    made: Made, monkeypatch: pytest.MonkeyPatch
) -> None:
    add_toy(monkeypatch)
    size = CalibrationSize(8, 64, 0)
    stages = {
        each.stage: each.bytes
        for each in export_memory(made.source.components["text"].spec, made.plan, 64, size)
    }
    assert stages["running toy"] > 2 * made.plan.weight_bytes
    assert "lowering to toy" in stages
    assert "Toy: reading the archive" in {part.purpose for part in parts()}
    assert "numpy" in participating_versions([TOY_FORMAT])
    artifact = Artifact("text", TOY_FORMAT, ARCHIVE, CONTEXT, 512, CHUNK, "all")
    assert f'np.load("{ARCHIVE}")' in facts_of(TOY_FORMAT).how_to_run(artifact, Prompting("<bos>", False))
    with pytest.raises(PlanError, match=r"int8-channel, which toy cannot carry .*\(it has no integers\)"):
        a_plan(made.source, a_variant("int8", (TOY_FORMAT,), CONTEXT))


def test_without_its_line_in_the_table_the_toy_is_unknown() -> None:
    with pytest.raises(RecipeError, match=r"\$\.limits\.end_to_end\.toy: unknown runtime"):
        toy_recipe()


def test_only_rooms_and_tables_call_a_runtime_by_its_name() -> None:
    """What else asks for "onnx" would have to be found and edited for the next runtime."""
    root = Path(exporter.__file__).parents[1]
    names = {*FAMILIES, *FORMATS}
    assert len(names) == 6
    found = {
        (path.relative_to(root).as_posix(), node.value)
        for package in ("exporter", "runtimes")
        for path in (root / package).rglob("*.py")
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if isinstance(node, ast.Constant) and node.value in names
    }
    assert {path for path, _ in found} >= set(TABLES), "the search finds what there is"
    assert not {each for each in found if not each[0].startswith(ROOMS) and each[0] not in TABLES}
