"""The command from a checkpoint on disk to a release, on a tiny model: every flag changes what it says.

Matrix: flags of `gemma-export` and `validate`, one format. Not asserted here: real weights (the
`sample_release` fixture's tests), what is refused (tests/unit/exporter/test_cli).
"""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from benchmarks.structure import ROOT
from exporter.cli import main
from exporter.packaging.release import verify_release
from exporter.views.json_report import read_report
from runtimes.manifest import read_manifest
from tests.checkpoints import write_huggingface
from tests.corruption.onnx import corrupt_layer
from tests.unit.exporter.checkpoints.adapters.written_adapters import write_adapter

RECIPE = """
description = "Eight bits, with limits of this test's own."

[[rule]]
match = ["*"]
scheme = "int8-channel"
reason = "test"

[limits.quantisation]
mean_kl = MEAN_KL
top1 = 0.9
reason = "test"
"""


def run(*arguments: str | Path) -> Result:
    return CliRunner().invoke(main, [str(argument) for argument in arguments])


def write_recipe(path: Path, mean_kl: float) -> Path:
    path.write_text(RECIPE.replace("MEAN_KL", repr(mean_kl)), encoding="utf-8")
    return path


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_huggingface(tmp_path_factory.mktemp("checkpoint") / "tiny")


@pytest.fixture(scope="module")
def exported(tmp_path_factory: pytest.TempPathFactory, checkpoint: Path) -> tuple[Path, Result]:
    """A release by a recipe file, with every flag that shapes it."""
    place = tmp_path_factory.mktemp("exported")
    recipe = write_recipe(place / "own.toml", 0.1)
    shape = ("--recipe", recipe, "--context", "96", "--format", "onnx", "--prefill-logits", "all")
    return place / "release", run(
        "--profile", "pixel-9", "--model", checkpoint, *shape, "-o", place / "release"
    )


def test_a_passing_export_is_published_whole(exported: tuple[Path, Result]) -> None:
    release, result = exported
    assert result.exit_code == 0, result.output
    assert verify_release(release) == ()
    assert read_report(release / "report.json").outcome == "passed"
    assert {path.name for path in release.parent.iterdir()} == {"own.toml", "release"}


def test_every_flag_is_seen_in_the_manifest(exported: tuple[Path, Result]) -> None:
    manifest = read_manifest(exported[0])
    (artifact,) = manifest.artifacts
    assert (artifact.format, artifact.context, artifact.prefill_logits) == ("onnx", 96, "all")
    assert (manifest.plan["target"], manifest.plan["recipe"]) == ("pixel-9", "own")


def test_fewer_tokens_are_compared_where_asked_for(
    exported: tuple[Path, Result], checkpoint: Path, tmp_path: Path
) -> None:
    few = ("--validation-tokens", "40")
    result = run("validate", exported[0], "--model", checkpoint, *few)
    assert "Only the first 40 of" in " ".join(result.output.split())
    out = tmp_path / "release"
    shape = ("--target", "desktop", "--context", "64", "--recipe", write_recipe(tmp_path / "own.toml", 0.1))
    result = run("--model", checkpoint, *shape, *few, "--max-ram", "64GiB", "-o", out)
    assert result.exit_code == 0, result.output
    assert read_report(out / "report.json").text_tokens == 40


def test_the_devices_room_and_speed_are_estimated(exported: tuple[Path, Result]) -> None:
    output = " ".join(exported[1].output.split())
    assert "pixel-9: onnx on the CPU fits: " in output
    assert "MB at the peak of the 6,442 MB an app may use (ru_maxrss, estimate), " in output
    assert "% that a peak was above its prediction at most." in output
    assert "Decode, tokens/s (estimate): onnx " in output


def test_a_release_can_be_checked_again_with_its_own_recipe(
    exported: tuple[Path, Result], checkpoint: Path, tmp_path: Path
) -> None:
    release, _ = exported
    before = {path: path.stat().st_mtime_ns for path in release.rglob("*")}
    result = run("validate", release, "--model", checkpoint, "--report", tmp_path / "new" / "report")
    assert result.exit_code == 0, result.output
    assert {path: path.stat().st_mtime_ns for path in release.rglob("*")} == before
    written = read_report(tmp_path / "new" / "report" / "report.json")
    assert "files" in {gate.kind for gate in written.gates}
    assert f"Report: {tmp_path / 'new' / 'report' / 'report.html'}" in result.output


def test_a_text_that_outgrows_the_context_is_printed_as_far_as_it_came(
    exported: tuple[Path, Result],
) -> None:
    release, _ = exported
    few, all_of_it = (run("run", release, "hello", "--max-tokens", count) for count in ("3", "500"))
    assert (few.exit_code, all_of_it.exit_code) == (0, 0), few.output + all_of_it.output
    assert all_of_it.stdout.startswith(few.stdout.rstrip("\n\ufffd"))
    assert few.stderr == ""
    assert all_of_it.stderr == "The context of 96 tokens ended here.\n"


def test_checking_again_names_the_changed_file_its_matrix_and_the_layer(
    exported: tuple[Path, Result], checkpoint: Path, tmp_path: Path
) -> None:
    shutil.copytree(exported[0], tmp_path / "release")
    corrupt_layer(tmp_path / "release" / "onnx" / "model.onnx", 2)
    result = run("validate", tmp_path / "release", "--model", checkpoint)
    said = " ".join(result.output.split())
    assert result.exit_code == 1, result.output
    assert "files unlike the manifest" in said
    assert "onnx/model.onnx.data: " in said
    assert "onnx/model.onnx, fp32: first layer outside tolerance: model.layers.2." in said
    assert "model.layers.2.mlp.down_proj.weight" in said


def test_a_release_without_its_recipe_says_that_it_is_missing(
    exported: tuple[Path, Result], checkpoint: Path, tmp_path: Path
) -> None:
    shutil.copytree(exported[0], tmp_path / "release")
    (tmp_path / "release" / "recipe.toml").unlink()
    result = run("validate", tmp_path / "release", "--model", checkpoint)
    assert result.exit_code == 2
    assert "recipe.toml: is missing from the release; copy the release again" in result.stderr


def test_a_release_somebody_added_to_is_not_replaced(
    exported: tuple[Path, Result], checkpoint: Path, tmp_path: Path
) -> None:
    release = shutil.copytree(exported[0], tmp_path / "release")
    (release / "thesis.tex").write_text("mine", encoding="utf-8")
    before = {path: path.read_bytes() for path in release.rglob("*") if path.is_file()}
    result = run("--target", "desktop", "--model", checkpoint, "--context", "64", "--force", "-o", release)
    assert result.exit_code == 2
    assert "holds 'thesis.tex', which no release lists" in result.stderr
    assert {path: path.read_bytes() for path in release.rglob("*") if path.is_file()} == before


def test_the_manifest_names_the_packages_that_took_part(checkpoint: Path, tmp_path: Path) -> None:
    """In a process of its own: this one has imported what other tests need."""
    flags = ("--target", "desktop", "--model", checkpoint, "--recipe", "float", "--context", "64")
    command = [sys.executable, "-m", "exporter.cli", *map(str, flags), "-o", str(tmp_path / "release")]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode in (0, 1), done.stderr
    (release,) = tmp_path.iterdir()
    versions = read_manifest(release).versions
    assert {"gemma-export", "python", "numpy", "torch", "transformers", "onnx", "onnxruntime"} <= set(
        versions
    )
    assert not {"coremltools", "ai-edge-litert", "litert-lm-builder", "gguf", "sentencepiece"} & set(
        versions
    )


def test_checking_against_another_checkpoint_is_refused(
    exported: tuple[Path, Result], tmp_path: Path
) -> None:
    other = write_huggingface(tmp_path / "other")
    (other / "config.json").write_text((other / "config.json").read_text() + "\n")
    result = run("validate", exported[0], "--model", other)
    assert result.exit_code == 2
    assert "is not the checkpoint" in result.stderr


def test_what_fails_a_gate_is_held_back(checkpoint: Path, tmp_path: Path) -> None:
    recipe = write_recipe(tmp_path / "strict.toml", 1e-9)
    result = run(
        *("--target", "desktop", "--model", checkpoint, "--recipe", recipe, "--context", "64"),
        *("-o", tmp_path / "release"),
    )
    assert result.exit_code == 1, result.output
    assert not (tmp_path / "release").exists()
    assert read_report(tmp_path / "release.failed" / "report.json").outcome == "failed"


def test_force_replaces_a_release_and_an_adapter_changes_it(checkpoint: Path, tmp_path: Path) -> None:
    recipe = write_recipe(tmp_path / "own.toml", 0.1)
    common = ("--target", "desktop", "--model", checkpoint, "--recipe", recipe, "--context", "64")
    out = tmp_path / "release"
    assert run(*common, "-o", out).exit_code == 0
    plain = read_manifest(out)
    adapter = write_adapter(tmp_path / "adapter")
    result = run(*common, "-o", out, "--force", "--adapter", adapter)
    assert result.exit_code == 0, result.output
    merged = read_manifest(out)
    assert set(merged.source["sha256"]) - set(plain.source["sha256"]) == {
        "adapter/adapter_config.json",
        "adapter/adapter_model.safetensors",
    }
    digests = [
        next(file.sha256 for file in manifest.files if file.path.endswith(".data"))
        for manifest in (plain, merged)
    ]
    assert digests[0] != digests[1]
