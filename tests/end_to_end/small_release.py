"""A tiny release in three formats that tests run, change and seal again."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from click.testing import CliRunner

from exporter.cli import main
from exporter.packaging.release import _entries, _sums, files_below
from runtimes.manifest import MANIFEST_NAME, SUMS_NAME, UNLISTED, read_manifest
from tests.checkpoints import write_huggingface


def make_release(directory: Path) -> Path:
    """A tiny model's, in three formats, below a directory."""
    checkpoint = write_huggingface(directory / "tiny")
    release = directory / "release"
    formats = [word for each in ("tflite", "onnx", "coreml") for word in ("--format", each)]
    flags = ["--model", checkpoint, "--context", "96", "--validation-tokens", "80", "--no-accelerators"]
    command = ["--target", "all", *formats, *flags, "-o", release]
    result = CliRunner().invoke(main, [str(each) for each in command])
    assert result.exit_code == 0, result.output
    return release


def seal_again(release: Path) -> None:
    """Manifest and sums of what is there now, as if it had been released so."""
    paths = [path for path in files_below(release) if path not in UNLISTED]
    manifest = replace(read_manifest(release), files=tuple(_entries(release, paths, None)))
    (release / MANIFEST_NAME).write_text(manifest.to_json(), encoding="utf-8")
    (release / SUMS_NAME).write_text(_sums(release, manifest), encoding="utf-8")


def words(of: str) -> str:
    """Without what a table puts around and between the lines of a cell."""
    return " ".join(of.replace("│", " ").split())
