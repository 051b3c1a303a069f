"""`--recipe mixed:BUDGET` through the command: chosen, released, checked again, or refused.

One tiny model, ONNX. Not asserted here: that the choice is a good one (tests/properties, docs/adr/0026).
"""

from __future__ import annotations

import tomllib
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from exporter.cli import main
from exporter.packaging.release import verify_release
from exporter.views.json_report import read_report
from runtimes.manifest import read_manifest
from tests.checkpoints import write_huggingface

BUDGET = "370KB"  # of a model whose 376,832 weights take 386,816 bytes in 8 bits


def run(*arguments: str | Path) -> Result:
    return CliRunner().invoke(main, [str(argument) for argument in arguments])


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_huggingface(tmp_path_factory.mktemp("checkpoint") / "tiny")


def export(checkpoint: Path, out: Path, recipe: str, *more: str) -> Result:
    shape = ("--target", "desktop", "--format", "onnx", "--context", "96", "--validation-tokens", "60")
    return run("--model", checkpoint, *shape, "--recipe", recipe, "-o", out, *more)


@pytest.fixture(scope="module")
def exported(tmp_path_factory: pytest.TempPathFactory, checkpoint: Path) -> tuple[Path, Result]:
    out = tmp_path_factory.mktemp("mixed") / "release"
    return out, export(checkpoint, out, f"mixed:{BUDGET}", "--timings")


def test_a_mixed_release_passes_within_its_budget(exported: tuple[Path, Result]) -> None:
    release, result = exported
    assert result.exit_code == 0, result.output
    assert verify_release(release) == ()
    assert read_report(release / "report.json").outcome == "passed"
    plan = read_manifest(release).plan
    assert plan["recipe"] == f"mixed-{BUDGET}"
    assert "choose schemes" in result.output


def test_it_carries_the_recipe_that_was_chosen_and_why(exported: tuple[Path, Result]) -> None:
    recipe = tomllib.loads((exported[0] / "recipe.toml").read_text(encoding="utf-8"))
    assert recipe["description"].startswith(f"Schemes chosen within {BUDGET}, to the least predicted loss")
    assert len({rule["scheme"] for rule in recipe["rule"]}) > 1, "nothing was mixed"
    assert all(rule["reason"].startswith(("KL ", "More bytes")) for rule in recipe["rule"])


def test_it_is_checked_again_by_that_recipe(exported: tuple[Path, Result], checkpoint: Path) -> None:
    result = run("validate", exported[0], "--model", checkpoint, "--validation-tokens", "60")
    assert result.exit_code == 0, result.output


def test_the_chosen_recipe_makes_the_same_release_by_itself(
    exported: tuple[Path, Result], checkpoint: Path, tmp_path: Path
) -> None:
    result = export(checkpoint, tmp_path / "again", str(exported[0] / "recipe.toml"))
    assert result.exit_code == 0, result.output
    for name in ("onnx/model.onnx", "onnx/model.onnx.data", "recipe.toml"):
        assert (tmp_path / "again" / name).read_bytes() == (exported[0] / name).read_bytes(), name


@pytest.mark.parametrize(
    ("recipe", "complaint"),
    [
        ("mixed:tiny", "names no budget"),
        ("mixed:246000000", "bits a weight"),
        ("mixed:100KB", "give at least mixed:"),
    ],
)
def test_a_budget_that_means_nothing_or_holds_nothing_is_refused_before_any_work(
    recipe: str, complaint: str, checkpoint: Path, tmp_path: Path
) -> None:
    result = export(checkpoint, tmp_path / "out", recipe)
    assert result.exit_code == 2
    assert complaint in " ".join(result.output.split())
    assert list(tmp_path.iterdir()) == []


def test_choosing_is_counted_where_memory_is_limited(checkpoint: Path, tmp_path: Path) -> None:
    result = export(checkpoint, tmp_path / "out", f"mixed:{BUDGET}", "--max-ram", "1GiB")
    assert result.exit_code == 2
    assert list(tmp_path.iterdir()) == []
