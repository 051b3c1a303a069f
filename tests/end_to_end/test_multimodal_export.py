"""The command on checkpoints with towers: a release of the text model that says what it left out.

Matrix: the three families with towers, one format; one of them by its name out of the Hub's cache. Not
asserted here: every runtime on every family (tests/parity), real weights.
"""

from __future__ import annotations

from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from exporter.cli import main
from exporter.packaging.release import verify_release
from exporter.views.json_report import read_report
from runtimes.manifest import read_manifest
from tests.end_to_end.test_command_line import write_recipe
from tests.fake_hub import COMMIT
from tests.unit.exporter.checkpoints.multimodal_checkpoints import LEFT_OUT, write_multimodal


def export(model: str | Path, place: Path) -> Result:
    recipe = write_recipe(place / "own.toml", 0.1)
    # Random weights: their favourites are close together, and eight bits swap many of them.
    recipe.write_text(
        recipe.read_text(encoding="utf-8").replace("top1 = 0.9", "top1 = 0.5"), encoding="utf-8"
    )
    shape = ("--recipe", recipe, "--context", "64", "--format", "onnx")
    arguments = ("--target", "desktop", "--model", model, *shape, "-o", place / "release")
    return CliRunner().invoke(main, [str(argument) for argument in arguments])


def check(result: Result, release: Path, family: str) -> None:
    assert result.exit_code == 0, result.output
    assert verify_release(release) == ()
    assert read_report(release / "report.json").left_out == LEFT_OUT[family]
    assert read_manifest(release).model["left_out"] == list(LEFT_OUT[family])
    words = f"Left out of the checkpoint: {'; '.join(LEFT_OUT[family])}."
    assert words in (release / "README.md").read_text(encoding="utf-8")
    assert words in (release / "report.html").read_text(encoding="utf-8")
    assert words in " ".join(result.stdout.split())


@pytest.mark.parametrize("family", ["gemma4", "gemma4_unified"])
def test_the_text_model_of_a_directory_is_released(family: str, tmp_path: Path) -> None:
    write_multimodal(tmp_path / "checkpoint", family, "inner")
    check(export(tmp_path / "checkpoint", tmp_path), tmp_path / "release", family)


def test_a_published_model_is_released_from_the_hubs_cache(
    tmp_path: Path, hub_cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    home = hub_cache / "models--google--gemma-3-4b-it"
    write_multimodal(home / "snapshots" / COMMIT, "gemma3", "outer")
    (home / "refs").mkdir()
    (home / "refs" / "main").write_text(COMMIT, encoding="utf-8")
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    result = export("gemma-3-4b", tmp_path)
    check(result, tmp_path / "release", "gemma3")
    assert result.stdout.startswith(
        "gemma-3-4b means gemma-3-4b, instruction-tuned (google/gemma-3-4b-it on"
    )
    assert read_manifest(tmp_path / "release").source["name"] == "gemma-3-4b-it"
