"""One export whose formats cannot carry one recipe: a release for each, side by side, on a tiny model.

Not about which formats get which recipe (tests/unit/exporter/planning/test_sharing_out.py).
"""

from __future__ import annotations

from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from exporter.cli import main
from exporter.packaging.release import verify_release
from exporter.packaging.working_directory import held_outputs
from exporter.views.json_report import read_report
from runtimes.manifest import read_manifest
from tests.checkpoints import write_huggingface
from tests.end_to_end.test_zero_point_exports import RECIPE

STRICT = ("mean_kl = 10.0", "mean_kl = 1e-9")  # nothing of 4 bits meets it


def run(*arguments: str | Path) -> Result:
    return CliRunner().invoke(main, [str(argument) for argument in arguments])


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_huggingface(tmp_path_factory.mktemp("checkpoint") / "tiny")


def export(checkpoint: Path, place: Path, recipe: str, *more: str) -> Result:
    (place / "own-zp.toml").write_text(f'{recipe}\n[instead]\nlitert = "int8"\n', encoding="utf-8")
    shape = ("--target", "android", "--recipe", place / "own-zp.toml", "--context", "96")
    return run("--model", checkpoint, *shape, "-o", place / "releases", *more)


def names(directory: Path) -> set[str]:
    return {path.name for path in directory.iterdir()}


def test_each_format_is_released_with_the_best_recipe_it_can_carry(
    checkpoint: Path, tmp_path: Path
) -> None:
    result = export(checkpoint, tmp_path, RECIPE)
    assert result.exit_code == 0, result.output
    releases = tmp_path / "releases"
    assert names(releases) == {"own-zp", "int8"}
    for name, format in (("own-zp", "onnx"), ("int8", "litertlm")):
        manifest = read_manifest(releases / name)
        assert [each.format for each in manifest.artifacts] == [format]
        assert manifest.plan["recipe"] == name
        assert verify_release(releases / name) == ()
        assert f"Release: {releases / name}\n" in result.output
        assert f"recipe {name}, target android" in result.output
    errors = [each.relative for each in read_report(releases / "int8" / "report.json").weight_errors]
    assert len(errors) == 50
    assert 0 < max(errors) < 0.02, "equalised matrices are held against equalised ones"

    again = export(checkpoint, tmp_path, RECIPE)
    assert again.exit_code == 2
    assert "a release is there already; give another --output, or --force" in again.stderr
    replaced = export(checkpoint, tmp_path, RECIPE.replace(*STRICT), "--force")
    assert replaced.exit_code == 1, "one passes and one fails"
    assert names(releases) == {"own-zp", "int8", "own-zp.failed"}
    assert read_report(releases / "own-zp.failed" / "report.json").outcome == "failed"
    assert f"held back: {releases / 'own-zp.failed'}\n" in replaced.output


def test_a_directory_with_anything_else_in_it_is_refused(checkpoint: Path, tmp_path: Path) -> None:
    (tmp_path / "releases").mkdir()
    (tmp_path / "releases" / "thesis.tex").write_text("mine")
    result = export(checkpoint, tmp_path, RECIPE, "--force")
    assert result.exit_code == 2
    assert "holds 'thesis.tex', and the releases int8, own-zp are to be all that is in it" in result.stderr
    assert names(tmp_path / "releases") == {"thesis.tex"}


def test_a_recipe_none_of_the_formats_can_carry_is_refused_with_the_one_they_can(
    checkpoint: Path, tmp_path: Path
) -> None:
    result = export(checkpoint, tmp_path, RECIPE, "--format", "litertlm")
    assert result.exit_code == 2
    assert "recipe own-zp: cannot be carried by litertlm" in result.stderr
    assert "choose --recipe int8" in result.stderr
    assert names(tmp_path) == {"own-zp.toml"}


def test_nothing_is_left_around_releases_that_did_not_come(tmp_path: Path) -> None:
    around = tmp_path / "releases"
    with held_outputs((around / "a", around / "b"), around):
        assert names(around) == {".a.work", ".b.work"}
    assert names(tmp_path) == set()
