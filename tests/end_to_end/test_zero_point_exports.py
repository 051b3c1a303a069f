"""A recipe of one's own with zero points, from the command line to a release that passes.

Matrix: int4-g32-zp everywhere, so that a tied embedding has zero points too, for ONNX, for the web and for
Core ML; LiteRT, which takes none, refuses it. Not asserted here: other schemes
(tests/contracts/test_lowering.py).
"""

from __future__ import annotations

from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from exporter.cli import main
from exporter.validation.verdict import Failed, Passed
from exporter.views.json_report import read_report
from runtimes.manifest import read_manifest
from tests.checkpoints import write_huggingface

RECIPE = """description = "4-bit codes in groups of 32 with zero points."

[[rule]]
match = ["*"]
scheme = "int4-g32-zp"
reason = "Every matrix, the table that is the head too."

[limits.quantisation]
mean_kl = 10.0
top1 = 0.0
reason = "A tiny random model keeps little."
"""


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_huggingface(tmp_path_factory.mktemp("checkpoint") / "tiny")


def run(*arguments: str | Path) -> Result:
    return CliRunner().invoke(main, [str(argument) for argument in arguments])


def export(checkpoint: Path, directory: Path, form: str) -> tuple[Result, Path]:
    recipe, release = directory / "own.toml", directory / "release"
    recipe.write_text(RECIPE, encoding="utf-8")
    shape = ("--target", "desktop", "--recipe", recipe, "--context", "96", "--format", form)
    return run("--model", checkpoint, *shape, "-o", release), release


@pytest.mark.parametrize("form", ["onnx", "onnx-web", "coreml"])
def test_a_recipe_with_zero_points_is_exported_and_passes(
    form: str, checkpoint: Path, tmp_path: Path
) -> None:
    result, release = export(checkpoint, tmp_path, form)
    assert result.exit_code == 0, result.output
    ((found, path),) = ((each.format, each.path) for each in read_manifest(release).artifacts)
    assert found == form
    report = read_report(release / "report.json")
    assert {gate.artifact for gate in report.gates if isinstance(gate.verdict, Passed)} >= {path}
    assert not [gate for gate in report.gates if isinstance(gate.verdict, Failed)]


def test_litert_refuses_zero_points_by_name(checkpoint: Path, tmp_path: Path) -> None:
    result, release = export(checkpoint, tmp_path, "tflite")
    assert result.exit_code == 2
    assert "int4-g32-zp" in result.output
    assert "it takes no zero points of weights" in result.output
    assert not release.exists()
