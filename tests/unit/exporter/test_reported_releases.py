"""`gemma-export compare --reported`: reports alone, without torch, and what it refuses.

Not about which figures are held against which (tests/unit/exporter/validation/test_reported).
"""

from __future__ import annotations

import json
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from exporter.cli import main
from exporter.validation.report import REPORT_SCHEMA_VERSION
from exporter.views.json_report import REPORT_NAME
from runtimes.manifest import MANIFEST_NAME
from tests.golden.reports import failing
from tests.reported_release import report_of_three, seal, write_reported_release

HEAVY = ("torch", "transformers", "onnx", "onnxruntime", "coremltools", "ai_edge_litert", "tokenizers")


def run(*arguments: str | Path) -> Result:
    return CliRunner().invoke(main, ["compare", "--reported", *map(str, arguments)])


@pytest.fixture
def place(tmp_path: Path) -> Path:
    """Two releases: the second decodes at half the pace."""
    report = report_of_three()
    slow = tuple(replace(each, decode_tokens_per_second=32.8) for each in report.runs)
    write_reported_release(tmp_path / "v1", report)
    write_reported_release(tmp_path / "v2", replace(report, runs=slow))
    return tmp_path


def refused(result: Result, *complaints: str | Path) -> None:
    assert result.exit_code == 2, result.output
    assert result.stderr.count("\n") == 1
    for complaint in complaints:
        assert str(complaint) in result.stderr


def test_reports_are_held_side_by_side_without_torch(place: Path) -> None:
    arguments = ["compare", "--reported", "v1", "v2", "--json", "found.json"]
    program = (
        "import sys; from exporter.cli import main\n"
        f"try: main({arguments!r})\n"
        f"finally: print(sorted(set(sys.modules) & set({HEAVY!r})), file=sys.stderr)"
    )
    command = [sys.executable, "-c", program]
    root = str(Path(__file__).parents[3])
    done = subprocess.run(
        command, cwd=place, env={"PYTHONPATH": root}, capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stderr) == (0, "[]\n"), done.stdout + done.stderr
    for words in ("Releases", "Their artifacts", "Against the release before", "Devices, predicted"):
        assert words in done.stdout
    assert "-50.0 %" in done.stdout
    assert "22 of 22" in done.stdout
    assert "as of the machine that made the release" in done.stdout
    assert "No device took part" in done.stdout
    found = json.loads((place / "found.json").read_text(encoding="utf-8"))
    assert (found["schema_version"], found["executed"]) == (4, None)
    assert [each["directory"] for each in found["reported"]["releases"]] == ["v1", "v2"]
    assert {each["decode_tokens_per_second"] for each in found["reported"]["changes"]} == {-0.5}


def test_a_release_that_is_named_twice_is_compared_once_and_says_so(
    place: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(place)
    Path("latest").symlink_to("v2")
    result = run("v1", "v2", "v1/", "latest")
    assert result.exit_code == 0, result.output
    assert "v1 was named before: it is compared once." in result.output
    assert "latest was named before, as v2: it is compared once." in result.output
    assert result.output.count("22 of 22") == 2


def test_one_release_has_nothing_before_it(place: Path) -> None:
    result = run(place / "v1", place / "v1")
    assert result.exit_code == 0, result.output
    assert "Against the release before" not in result.output
    assert "Their artifacts" in result.output


def test_a_release_that_failed_is_shown_with_its_outcome(place: Path) -> None:
    report = replace(failing(), runs=report_of_three().runs)
    directory = write_reported_release(place / "v3.failed", report)
    result = run(place / "v2", directory, "--json", place / "found.json")
    assert result.exit_code == 0, result.output
    assert "failed" in result.output
    assert "\x1b[31m" not in result.output
    found = json.loads((place / "found.json").read_text(encoding="utf-8"))
    assert [each["outcome"] for each in found["reported"]["releases"]] == ["passed", "failed"]


def changed(place: Path, **members: Any) -> Path:
    """v2 with other members in its report, sealed again."""
    path = place / "v2" / REPORT_NAME
    raw = json.loads(path.read_text(encoding="utf-8"))
    path.write_text(json.dumps({**raw, **members}), encoding="utf-8")
    seal(place / "v2", report_of_three())
    return path


@pytest.mark.parametrize("version", [REPORT_SCHEMA_VERSION - 1, REPORT_SCHEMA_VERSION + 1])
def test_a_report_of_another_schema_is_refused(version: int, place: Path) -> None:
    path = changed(place, schema_version=version)
    reads = f"schema_version is {version} and this version reads {REPORT_SCHEMA_VERSION}"
    refused(run(place / "v1", place / "v2"), path, reads)


def test_a_report_that_was_edited_is_refused_by_name(place: Path) -> None:
    path = place / "v2" / REPORT_NAME
    path.write_text(path.read_text(encoding="utf-8").replace("65.6", "95.6").replace("32.8", "92.8"))
    refused(run(place / "v1", place / "v2"), path, f"is not the file that {MANIFEST_NAME} lists")


def test_a_directory_that_is_no_release_is_refused(place: Path) -> None:
    (place / "codes").mkdir()
    (place / "codes" / "quantized.json").write_text("{}")
    refused(run(place / "v1", place / "codes"), place / "codes", "is not a release")
    (place / "v2" / REPORT_NAME).unlink()
    refused(run(place / "v2"), place / "v2" / REPORT_NAME, "no such file")


@pytest.mark.parametrize("flag", [("--model", "2b"), ("--tokens", "100"), ("--adapter", "somewhere")])
def test_what_only_executing_takes_is_refused(flag: tuple[str, str], place: Path) -> None:
    refused(run(place / "v1", *flag), flag[0], "means nothing beside --reported")


@pytest.mark.parametrize("file", ["/proc/none.json", "x" * 300])
def test_figures_that_cannot_be_written_are_refused(file: str, place: Path) -> None:
    refused(run(place / "v1", place / "v2", "--json", file), file[:100])
