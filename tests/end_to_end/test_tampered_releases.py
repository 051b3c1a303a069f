"""Every file of a release in all four formats, changed after the release was sealed.

Matrix: file × (a bit turned, cut short, emptied, gone, replaced by a link, replaced by a directory): named
by what checks the digests. And each artifact's files cut short, digests or not, through the whole
`validate`: a verdict and a message, whatever the runtime says of such a file. Not asserted: that a runtime
survives bytes made to break it; ours hands it what the digests let through.
"""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
from click.testing import CliRunner

from exporter.cli import main
from exporter.packaging.release import files_below, verify_release
from runtimes.manifest import MANIFEST_NAME
from tests.checkpoints import write_huggingface

FORMATS = ("tflite", "litertlm", "onnx", "coreml")


def _turn_a_bit(path: Path) -> None:
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(data)


def _cut_short(path: Path) -> None:
    path.write_bytes(path.read_bytes()[: path.stat().st_size * 2 // 3])


def _empty(path: Path) -> None:
    path.write_bytes(b"")


def _link_away(path: Path) -> None:
    path.unlink()
    path.symlink_to("/etc/hostname")


def _make_directory(path: Path) -> None:
    path.unlink()
    path.mkdir()


CHANGES: dict[str, Callable[[Path], None]] = {
    "a bit turned": _turn_a_bit,
    "cut short": _cut_short,
    "emptied": _empty,
    "gone": Path.unlink,
    "a link": _link_away,
    "a directory": _make_directory,
}


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_huggingface(tmp_path_factory.mktemp("checkpoint") / "tiny")


@pytest.fixture(scope="module")
def sealed(checkpoint: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("sealed") / "release"
    formats = [word for each in FORMATS for word in ("--format", each)]
    flags = ["--model", str(checkpoint), "--context", "64", "--validation-tokens", "40", "-o", str(out)]
    result = CliRunner().invoke(main, ["--target", "all", *formats, *flags])
    assert result.exit_code == 0, result.output
    return out


@pytest.mark.parametrize("change", CHANGES)
def test_a_change_of_any_file_is_named(sealed: Path, change: str, tmp_path: Path) -> None:
    names = files_below(sealed)
    assert len(names) > 20
    for number, name in enumerate(names):
        release = shutil.copytree(sealed, tmp_path / str(number))
        CHANGES[change](release / name)
        problems = verify_release(release)
        named = any(name == problem.path or name in problem.what for problem in problems)
        # A digest in the manifest that is another by a bit speaks of the file it is of.
        assert named or (name == MANIFEST_NAME and problems), name
        shutil.rmtree(release)


def test_more_tokens_than_any_text_has_are_refused(sealed: Path, checkpoint: Path, tmp_path: Path) -> None:
    asked = ("--model", str(checkpoint), "--validation-tokens", "1000000000")
    export = ("--target", "desktop", "--context", "64", "-o", str(tmp_path / "release"))
    for command in (("validate", str(sealed)), export):
        result = CliRunner().invoke(main, [*command, *asked])
        assert result.exit_code == 2, result.output
        assert "error: --validation-tokens 1000000000: the evaluation text has " in result.stderr
        assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("format", FORMATS)
def test_an_artifact_cut_short_ends_in_a_verdict(
    sealed: Path, checkpoint: Path, format: str, tmp_path: Path
) -> None:
    release = shutil.copytree(sealed, tmp_path / "release")
    for name in (each for each in files_below(sealed) if f".{format}" in each or each.startswith(format)):
        _cut_short(release / name)
    flags = ["--model", str(checkpoint), "--validation-tokens", "40"]
    result = CliRunner().invoke(main, ["validate", str(release), *flags])
    said = " ".join(result.output.split())
    assert result.exit_code == 1, result.output
    assert "bytes, the manifest says" in said
    assert "gates do not hold" in said
    assert "Traceback" not in said
