"""A sealed release lists every byte it holds, and any change to it is found and named."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from importlib.metadata import version
from pathlib import Path
from types import ModuleType

import pytest

from exporter.errors import ReleaseError
from exporter.packaging.release import (
    Runnable,
    participating_versions,
    seal_release,
    sizes,
    verify_release,
)
from runtimes.manifest import SUMS_NAME, Artifact, ComponentEntry, read_manifest
from tests.jobs import a_plan, a_variant
from tests.tiny import RandomSource, tiny_gemma3

ONNX = Artifact("text", "onnx", "onnx/model.onnx", 64, 512, 16, "last")
COREML = Artifact("text", "coreml", "coreml/model.mlpackage", 64, 512, 16, "all")


def seal(release: Path, *artifacts: Artifact) -> None:
    source = RandomSource(tiny_gemma3(), left_out=("vision tower, 417 M parameters",))
    formats = tuple(artifact.format for artifact in artifacts) or ("onnx", "coreml")
    plan = a_plan(source, a_variant("int8", formats, name="macos"))
    seal_release(
        release, source=source, plan=plan, runnable=Runnable(artifacts), versions={"gemma-export": "0.1.0"}
    )


def sealed(tmp_path: Path, name: str = "release") -> Path:
    release = tmp_path / name
    weights = release / "coreml/model.mlpackage/Data/weights"
    weights.mkdir(parents=True)
    (weights / "weight.bin").write_bytes(bytes(range(256)) * 10)
    (release / "coreml/model.mlpackage/Manifest.json").write_text("{}", encoding="utf-8")
    (release / "onnx").mkdir()
    (release / "onnx/model.onnx").write_bytes(b"graph")
    (release / "report.json").write_text("{}", encoding="utf-8")
    (release / "README with spaces.md").write_text("", encoding="utf-8")
    seal(release, ONNX, COREML)
    return release


def of_schema_1(tmp_path: Path) -> Path:
    """The same release under the manifest and sums that 0.1.0 wrote for it before components had names."""
    release = sealed(tmp_path)
    for name in ("manifest.json", SUMS_NAME):
        shutil.copy(Path(__file__).parent / "schema_1" / name, release / name)
    return release


def test_an_intact_release_has_no_problems(tmp_path: Path) -> None:
    assert verify_release(sealed(tmp_path)) == ()


def test_the_manifest_lists_everything_but_itself_and_the_sums(tmp_path: Path) -> None:
    release = sealed(tmp_path)
    manifest = read_manifest(release)
    assert {entry.path: entry.size for entry in manifest.files} == {
        path: size for path, size in sizes(release).items() if path not in ("manifest.json", SUMS_NAME)
    }
    assert manifest.artifacts == (ONNX, COREML)
    assert manifest.components == {
        "text": ComponentEntry("gemma3_text", manifest.model["parameters"], ("tokens",), ("logits",))
    }
    assert manifest.model["left_out"] == ["vision tower, 417 M parameters"]
    assert manifest.source["sha256"] == {"seed": "0"}
    assert manifest.plan["recipe"] == "int8"
    assert sum(manifest.plan["schemes"].values()) > 40


def test_sha256sum_reads_the_sums_and_they_cover_the_manifest(tmp_path: Path) -> None:
    release = sealed(tmp_path)
    subprocess.run(["sha256sum", "--check", "--strict", "--quiet", SUMS_NAME], cwd=release, check=True)
    covered = {line.split("  ", 1)[1] for line in (release / SUMS_NAME).read_text().splitlines()}
    assert covered == set(sizes(release)) - {SUMS_NAME}


def test_sealing_twice_gives_the_same_bytes(tmp_path: Path) -> None:
    first, second = sealed(tmp_path, "one"), sealed(tmp_path, "two")
    for name in ("manifest.json", SUMS_NAME):
        assert (first / name).read_bytes() == (second / name).read_bytes()
    before = (first / SUMS_NAME).read_bytes()
    seal(first, ONNX, COREML)
    assert (first / SUMS_NAME).read_bytes() == before


def test_a_release_of_schema_1_is_intact_and_means_what_it_would_today(tmp_path: Path) -> None:
    today = read_manifest(sealed(tmp_path, "today"))
    release = of_schema_1(tmp_path)
    assert json.loads((release / "manifest.json").read_text())["schema_version"] == 1
    assert verify_release(release) == ()
    assert read_manifest(release) == replace(today, tokens=None), "which it did not keep"


def flip_a_bit(release: Path) -> None:
    path = release / "coreml/model.mlpackage/Data/weights/weight.bin"
    raw = bytearray(path.read_bytes())
    raw[1000] ^= 1
    path.write_bytes(raw)


def truncate(release: Path) -> None:
    (release / "onnx/model.onnx").write_bytes(b"grap")


def delete(release: Path) -> None:
    shutil.rmtree(release / "coreml")


def add(release: Path) -> None:
    (release / "onnx/.hidden").touch()


def link(release: Path) -> None:
    path = release / "onnx/model.onnx"
    shutil.copy(path, release.parent / "elsewhere")
    path.unlink()
    path.symlink_to(release.parent / "elsewhere")


def link_a_directory(release: Path) -> None:
    (release / "more").symlink_to(release.parent)


def edit_the_manifest(release: Path) -> None:
    path = release / "manifest.json"
    path.write_text(path.read_text().replace('"recipe": "int8"', '"recipe": "int4"'))


def remove_the_sums(release: Path) -> None:
    (release / SUMS_NAME).unlink()


def edit_the_sums(release: Path) -> None:
    path = release / SUMS_NAME
    path.write_text(path.read_text().replace("onnx/model.onnx", "onnx/other.onnx"))


def link_the_sums_to_what_never_ends(release: Path) -> None:
    (release / SUMS_NAME).unlink()
    (release / SUMS_NAME).symlink_to("/dev/zero")


def make_the_sums_endless(release: Path) -> None:
    os.truncate(release / SUMS_NAME, 1 << 40)


def make_the_sums_a_pipe(release: Path) -> None:
    (release / SUMS_NAME).unlink()
    os.mkfifo(release / SUMS_NAME)


def remove_the_manifest(release: Path) -> None:
    (release / "manifest.json").unlink()


def another_schema(release: Path) -> None:
    path = release / "manifest.json"
    path.write_text(path.read_text().replace('"schema_version": 2', '"schema_version": 3'))


@pytest.mark.parametrize(
    ("damage", "problem"),
    [
        (flip_a_bit, "weight.bin: its bytes have changed"),
        (truncate, "onnx/model.onnx: has 4 bytes, the manifest says 5"),
        (delete, "weight.bin: is missing"),
        (add, "onnx/.hidden: is not in the manifest"),
        (link, "'onnx/model.onnx' is a link out of"),
        (link_a_directory, "more: is not in the manifest"),
        (edit_the_manifest, "SHA256SUMS: does not agree with the manifest"),
        (remove_the_sums, "SHA256SUMS: is missing"),
        (edit_the_sums, "SHA256SUMS: does not agree with the manifest"),
        (link_the_sums_to_what_never_ends, "SHA256SUMS: is a link"),
        (make_the_sums_endless, "SHA256SUMS: does not agree with the manifest (has 1099511627776 bytes"),
        (make_the_sums_a_pipe, "SHA256SUMS: does not agree with the manifest (is not a plain file)"),
        (remove_the_manifest, "is this a release directory"),
        (another_schema, "schema_version is 3"),
    ],
)
def test_any_damage_is_found_and_named(
    tmp_path: Path, damage: Callable[[Path], None], problem: str
) -> None:
    release = sealed(tmp_path)
    damage(release)
    found = [str(each) for each in verify_release(release)]
    assert any(problem in each for each in found), found


@pytest.mark.parametrize(
    ("damage", "problem"),
    [
        (flip_a_bit, "weight.bin: its bytes have changed"),
        (edit_the_manifest, "SHA256SUMS: does not agree with the manifest"),
    ],
)
def test_damage_to_a_release_of_schema_1_is_found_as_well(
    tmp_path: Path, damage: Callable[[Path], None], problem: str
) -> None:
    release = of_schema_1(tmp_path)
    damage(release)
    assert [problem in str(each) for each in verify_release(release)] == [True]


def test_an_artifact_that_was_not_written_cannot_be_sealed(tmp_path: Path) -> None:
    (tmp_path / "onnx").mkdir()
    (tmp_path / "onnx/model.onnx.data").touch()
    with pytest.raises(ReleaseError, match=re.escape("onnx/model.onnx: the artifact was not written")):
        seal(tmp_path, ONNX)


@pytest.mark.parametrize("name", ["line\nbreak", "back\\slash"])
def test_a_name_sha256sum_would_escape_cannot_be_sealed(tmp_path: Path, name: str) -> None:
    (tmp_path / name).touch()
    with pytest.raises(ReleaseError, match="no manifest can hold"):
        seal(tmp_path)


def test_a_link_cannot_be_sealed(tmp_path: Path) -> None:
    (tmp_path / "link").symlink_to("/etc/hostname")
    with pytest.raises(ReleaseError, match="a link"):
        seal(tmp_path)


def test_versions_are_those_of_what_was_imported(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("onnx", "gguf", "google.protobuf"):
        monkeypatch.setitem(sys.modules, name, ModuleType(name))
    for name in ("onnxruntime", "coremltools", "sentencepiece"):
        monkeypatch.delitem(sys.modules, name, raising=False)
    onnx = participating_versions(["onnx"], also=["gguf"])
    assert onnx["onnx"] == version("onnx")
    assert {"gemma-export", "python", "numpy", "gguf"} <= set(onnx)
    assert not {"coremltools", "onnxruntime", "sentencepiece", "protobuf"} & set(onnx)
    coreml = participating_versions(["coreml"])
    assert "protobuf" in coreml
    assert not {"gguf", "coremltools", "onnx"} & set(coreml)
    assert list(json.loads(json.dumps(onnx))) == list(onnx)


def test_progress_runs_from_nothing_to_all_bytes(tmp_path: Path) -> None:
    release = sealed(tmp_path)
    calls: list[tuple[str, int, int]] = []
    verify_release(release, lambda what, done, total: calls.append((what, done, total)))
    assert calls[0][1] == 0
    assert calls[-1][1] == calls[-1][2] == sum(entry.size for entry in read_manifest(release).files)
