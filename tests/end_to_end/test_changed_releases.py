"""What a check by recorded calls finds in releases that were changed since they were made."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from exporter.cli import main
from runtimes.manifest import MANIFEST_NAME
from runtimes.recorded_calls import RECORD_NAME
from tests.corruption import onnx
from tests.end_to_end.small_release import make_release, seal_again, words


def recorded(release: Path) -> Result:
    return CliRunner().invoke(main, ["validate", str(release), "--recorded"])


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_release(tmp_path_factory.mktemp("made"))


@pytest.fixture
def release(made: Path, tmp_path: Path) -> Path:
    """A copy to be changed."""
    return shutil.copytree(made, tmp_path / "release")


@pytest.mark.parametrize("flag", [("--model", "sample"), ("--cpu", "max"), ("--no-accelerators",)])
def test_flags_of_the_checkpoint_do_not_go_with_recorded_calls(flag: tuple[str, ...], made: Path) -> None:
    result = CliRunner().invoke(main, ["validate", str(made), "--recorded", *flag])
    assert result.exit_code == 2
    assert "does not go with --recorded" in result.stderr


def test_an_edited_file_is_named_and_its_artifact_is_not_run(release: Path) -> None:
    data = release / "onnx" / "model.onnx.data"
    with data.open("r+b") as file:
        file.seek(5000)
        file.write(b"\xff\x00\xff\x00")
    result = recorded(release)
    assert result.exit_code == 1, result.output
    said = words(result.output)
    assert "onnx/model.onnx.data: its bytes have changed" in said
    assert "onnx/model.onnx.data is not as it was sealed, and it was not run" in said
    assert "ONNX Runtime" not in said


def scale(release: Path) -> None:
    onnx.corrupt(release / "onnx" / "model.onnx", "scale")


def rope(release: Path) -> None:
    onnx.corrupt(release / "onnx" / "model.onnx", "rope")


def other_words(release: Path) -> None:
    path = release / "tokenizer.json"
    plain = json.loads(path.read_text(encoding="utf-8"))
    vocabulary = plain["model"]["vocab"]
    vocabulary["<0x61>"], vocabulary["<0x62>"] = vocabulary["<0x62>"], vocabulary["<0x61>"]
    path.write_text(json.dumps(plain), encoding="utf-8")


@pytest.mark.parametrize(
    ("damage", "complaint"),
    [
        (scale, "mean KL from the record"),
        (rope, "mean KL from the record"),
        (other_words, "texts with other tokens"),
    ],
)
def test_damage_under_a_seal_of_its_own_fails_all_the_same(
    damage: Callable[[Path], None], complaint: str, release: Path
) -> None:
    damage(release)
    seal_again(release)
    result = recorded(release)
    assert result.exit_code == 1, result.output
    (row,) = (line for line in result.output.splitlines() if "failed" in line and complaint in line)
    assert "differences" not in row


def test_a_release_without_a_record_has_its_checksums_checked_and_the_rest_skipped(release: Path) -> None:
    (release / RECORD_NAME).unlink()
    seal_again(release)
    result = recorded(release)
    assert result.exit_code == 3, result.output
    assert "the release was made before calls were recorded" in words(result.output)


def test_a_record_of_a_newer_schema_is_refused(release: Path) -> None:
    path = release / RECORD_NAME
    path.write_text(path.read_text(encoding="utf-8").replace('"schema_version":1', '"schema_version":9'))
    seal_again(release)
    result = recorded(release)
    assert result.exit_code == 2
    assert "schema_version is 9 and this version reads 1" in result.stderr


def test_a_record_that_was_edited_is_not_believed(release: Path) -> None:
    path = release / RECORD_NAME
    path.write_text(path.read_text(encoding="utf-8").replace('"mean_kl":0.0001', '"mean_kl":90.0'))
    result = recorded(release)
    assert result.exit_code == 1, result.output
    assert f"{RECORD_NAME} is not as it was sealed" in words(result.output)
    assert "ONNX Runtime" not in result.output


def test_a_record_or_a_tokenizer_that_is_missing_is_called_so(release: Path) -> None:
    (release / "tokenizer.json").unlink()
    said = words(recorded(release).output)
    assert "tokenizer.json, texts with other tokens: skipped, because tokenizer.json is missing." in said
    (release / RECORD_NAME).unlink()
    result = recorded(release)
    assert result.exit_code == 1, result.output
    assert f"skipped, because {RECORD_NAME} is missing." in words(result.output)
    assert "as it was sealed" not in result.output


def test_a_tokenizer_that_cannot_be_read_fails_and_is_the_release_s_to_mend(release: Path) -> None:
    (release / "tokenizer.json").write_text("{", encoding="utf-8")
    seal_again(release)
    result = recorded(release)
    assert result.exit_code == 1, result.output
    said = words(result.output)
    assert "failures to read" in said
    assert "tokenizer.json: cannot be read" in said
    assert "copy the release again" in said
    assert "LiteRT 2" in said, "the artifacts are run all the same"
    ran = CliRunner().invoke(main, ["run", str(release), "hi"])
    assert ran.exit_code == 2
    assert "copy the release again" in ran.stderr
    assert "fetch the checkpoint" not in said + ran.stderr


def test_a_manifest_of_a_newer_schema_is_refused(release: Path) -> None:
    path = release / MANIFEST_NAME
    path.write_text(path.read_text(encoding="utf-8").replace('"schema_version": 2', '"schema_version": 9'))
    for command in (("validate", "--recorded"), ("run", "hi"), ("bench",)):
        name, *more = command
        result = CliRunner().invoke(main, [name, str(release), *more])
        assert result.exit_code == 2
        assert "schema_version is 9 and this version reads 1 and 2" in result.stderr
