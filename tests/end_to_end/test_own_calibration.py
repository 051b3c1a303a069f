"""An export whose codes are fitted to the user's own text, and what a later check of it needs.

Not about which text is refused (tests/end_to_end/test_quantized_checkpoints.py).
"""

from __future__ import annotations

from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from exporter.cli import main
from exporter.resources import data_directory
from exporter.views.json_report import read_report
from tests.checkpoints import write_huggingface


def run(*arguments: str | Path) -> Result:
    return CliRunner().invoke(main, [str(argument) for argument in arguments])


@pytest.fixture(scope="module")
def own_text(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """Two files that are longer than a tiny model's recipe asks for."""
    place = tmp_path_factory.mktemp("text")
    pieces = sorted((data_directory("samples") / "calibration").glob("*.txt"))
    files = (place / "one.txt", place / "other.txt")
    for file, some in zip(files, (pieces[::2], pieces[1::2]), strict=True):
        file.write_bytes(b"".join(piece.read_bytes() for piece in some))
    return files


def test_a_release_is_checked_again_with_the_text_its_codes_were_fitted_to(
    tmp_path: Path, own_text: tuple[Path, Path]
) -> None:
    checkpoint, release = write_huggingface(tmp_path / "tiny"), tmp_path / "release"
    own = [each for file in own_text for each in ("--calibration", file)]
    shape = ("--target", "desktop", "--format", "onnx", "--recipe", "int8", "--context", "96")
    result = run("--model", checkpoint, *shape, *own, "-o", release)
    assert result.exit_code == 0, result.output
    (said,) = (each for each in read_report(release / "report.json").remarks if "--calibration" in each)
    assert said.startswith("Codes were fitted to text of the user's (one.txt, other.txt; SHA-256")

    again = run("validate", release, "--model", checkpoint, *own)
    assert again.exit_code == 0, again.output
    with_other_text = run("validate", release, "--model", checkpoint)
    assert with_other_text.exit_code == 1, "what ships gives other codes"


def test_an_export_by_a_recipe_without_text_refuses_the_files_and_leaves_nothing(
    tmp_path: Path, own_text: tuple[Path, Path]
) -> None:
    checkpoint = write_huggingface(tmp_path / "tiny")
    shape = ("--target", "desktop", "--recipe", "float", "--context", "96", "--calibration", own_text[0])
    result = run("--model", checkpoint, *shape, "-o", tmp_path / "release")
    assert result.exit_code == 2
    assert "recipe float uses no calibration text for this checkpoint" in result.stderr
    assert [path.name for path in tmp_path.iterdir()] == ["tiny"]
