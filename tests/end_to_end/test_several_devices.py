"""One export for several devices: a release for each variant that differs, each with its devices' verdicts.

On a tiny model and profiles of the test's own. Not about which recipe a device gets
(tests/unit/exporter/planning/test_planner.py).
"""

from __future__ import annotations

from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from exporter.cli import main
from exporter.packaging.release import verify_release
from exporter.resources import data_directory
from exporter.views.json_report import read_report
from runtimes.manifest import read_manifest
from tests.checkpoints import write_huggingface

SHAPE = ("--validation-tokens", "32", "--no-accelerators", "--recipe", "int8")


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_huggingface(tmp_path_factory.mktemp("checkpoint") / "tiny")


def write_profile(directory: Path, name: str, context: int, app: str | None = None) -> Path:
    """The default desktop of another name, context and memory for an app."""
    text = (data_directory("device_profiles") / "default-desktop.toml").read_text(encoding="utf-8")
    text = text.replace('name = "default-desktop"', f'name = "{name}"')
    for usual in (4096, 1024):
        text = text.replace(f"context = {usual}", f"context = {context}")
    if app is not None:
        text = text.replace("bytes = 8_589_934_592", f"bytes = {app}")
    path = directory / f"{name}.toml"
    path.write_text(text, encoding="utf-8")
    return path


def export(checkpoint: Path, *arguments: str | Path) -> Result:
    return CliRunner().invoke(main, ["--model", str(checkpoint), *SHAPE, *map(str, arguments)])


def names(directory: Path) -> set[str]:
    return {path.name for path in directory.iterdir()}


def test_devices_share_releases_and_what_fits_none_is_a_row_and_exit_code_1(
    checkpoint: Path, tmp_path: Path
) -> None:
    wide, other, narrow, tiny = (
        write_profile(tmp_path, name, context, app)
        for name, context, app in (
            ("wide", 96, None),
            ("other", 96, None),
            ("narrow", 64, None),
            ("tiny", 64, "1_000_000"),
        )
    )
    out = tmp_path / "releases"
    asked = [each for path in (wide, other, narrow, tiny) for each in ("--profile", path)]
    result = export(checkpoint, *asked, "-o", out)
    assert result.exit_code == 1, result.output
    assert names(out) == {"int8-96", "int8-64"}
    for name, context, devices in (("int8-96", 96, ["wide", "other"]), ("int8-64", 64, ["narrow"])):
        release = out / name
        assert verify_release(release) == ()
        manifest, report = read_manifest(release), read_report(release / "report.json")
        assert (manifest.plan["context"], manifest.plan["target"]) == (context, "+".join(devices))
        assert report.outcome == "passed"
        verdicts = {each.profile: each for each in report.devices}
        assert list(verdicts) == [*devices, "tiny"]
        assert [verdicts[each].fit for each in devices] == ["fits"] * len(devices)
        assert (verdicts["tiny"].fit, verdicts["tiny"].artifacts[0].format) == ("does not fit", "onnx")
        (run,) = report.runs
        assert verdicts[devices[0]].artifacts[0].artifact_bytes == run.bytes, "of what was written"
    assert "tiny: Nothing would fit, not even the smallest there is, " in result.output


def test_a_device_on_which_nothing_fits_is_refused_before_work_unless_it_is_wanted_anyway(
    checkpoint: Path, tmp_path: Path
) -> None:
    tiny = write_profile(tmp_path, "tiny", 64, "1_000_000")
    refused = export(checkpoint, "--profile", tiny, "-o", tmp_path / "release")
    assert refused.exit_code == 2
    assert refused.stderr.startswith("error: tiny: Nothing would fit, not even the smallest there is, ")
    assert ": onnx on the CPU takes " in refused.stderr
    assert "--anyway" in refused.stderr
    assert names(tmp_path) == {"tiny.toml"}
    made = export(checkpoint, "--profile", tiny, "--anyway", "-o", tmp_path / "release")
    assert made.exit_code == 0, made.output
    (verdict,) = read_report(tmp_path / "release" / "report.json").devices
    assert verdict.fit == "does not fit"
    assert "may use 1.0 MB" in verdict.reason


def test_a_directory_that_holds_something_else_is_refused_for_several(
    checkpoint: Path, tmp_path: Path
) -> None:
    profiles = [write_profile(tmp_path, "wide", 96), write_profile(tmp_path, "narrow", 64)]
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "thesis.tex").write_text("mine")
    asked = [each for path in profiles for each in ("--profile", path)]
    result = export(checkpoint, *asked, "-o", tmp_path / "out")
    assert result.exit_code == 2
    assert (
        "holds 'thesis.tex', and the releases int8-64, int8-96 are to be all that is in it" in result.stderr
    )
    assert names(tmp_path / "out") == {"thesis.tex"}
