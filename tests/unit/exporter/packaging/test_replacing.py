"""What may be deleted to make room for a release: one of ours with nothing else in it, wherever it lies."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from exporter.errors import ReleaseError
from exporter.packaging.replacing import remove_release, require_ours
from exporter.packaging.staging import require_free
from tests.unit.exporter.packaging.test_release import of_schema_1, sealed


def web_project(place: Path) -> None:
    place.mkdir()
    (place / "manifest.json").write_text('{"name": "My page", "icons": []}', encoding="utf-8")
    (place / "index.html").write_text("<html>", encoding="utf-8")


def emptied_manifest(place: Path) -> None:
    place.mkdir()
    (place / "manifest.json").write_text("{}", encoding="utf-8")


def linked_manifest(place: Path) -> None:
    sealed(place.parent, "elsewhere")
    place.mkdir()
    (place / "manifest.json").symlink_to(place.parent / "elsewhere" / "manifest.json")


def with_notes(place: Path) -> None:
    sealed(place.parent, place.name)
    (place / "onnx" / "notes.txt").write_text("mine", encoding="utf-8")


def with_a_linked_directory(place: Path) -> None:
    sealed(place.parent, place.name)
    (place / "photos").symlink_to(place.parent)


def of_another_version(place: Path) -> None:
    path = sealed(place.parent, place.name) / "manifest.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), "schema_version": 3}), encoding="utf-8")


def photos(place: Path) -> None:
    place.mkdir()
    (place / "photo.jpg").touch()


STRANGERS = [
    (web_project, "is not a release"),
    (emptied_manifest, "is not a release"),
    (linked_manifest, "is not a release"),
    (with_notes, r"holds 'onnx/notes\.txt', which no release lists"),
    (with_a_linked_directory, "holds 'photos'"),
    (of_another_version, "schema_version is 3"),
    (photos, "is not a release"),
]


def contents(place: Path) -> dict[str, bytes]:
    return {str(path): path.read_bytes() for path in place.rglob("*") if path.is_file()}


@pytest.mark.parametrize("name", ["release", "release.failed", ".release.replaced"])
@pytest.mark.parametrize(("stranger", "complaint"), STRANGERS)
def test_what_is_not_wholly_ours_is_refused_by_name_and_kept(
    tmp_path: Path, name: str, stranger: Callable[[Path], object], complaint: str
) -> None:
    stranger(tmp_path / name)
    before = contents(tmp_path)
    with pytest.raises(ReleaseError, match=complaint) as caught:
        require_free(tmp_path / "release", force=True)
    assert caught.value.where == str(tmp_path / name)
    assert contents(tmp_path) == before


def test_a_changed_or_incomplete_release_is_still_ours(tmp_path: Path) -> None:
    release = of_schema_1(tmp_path)
    (release / "onnx" / "model.onnx").write_bytes(b"changed")
    shutil.rmtree(release / "coreml")
    require_ours(release)
    require_free(release, force=True)


def test_a_removal_that_was_interrupted_can_go_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    release = sealed(tmp_path)
    unlink = Path.unlink

    def interrupted(self: Path, missing_ok: bool = False) -> None:
        if self.name == "SHA256SUMS":
            raise KeyboardInterrupt
        unlink(self, missing_ok)

    with monkeypatch.context() as patch:
        patch.setattr(Path, "unlink", interrupted)
        with pytest.raises(KeyboardInterrupt):
            remove_release(release)
    require_ours(release)
    remove_release(release)
    assert not release.exists()


def test_what_appears_while_a_release_is_removed_is_kept(tmp_path: Path) -> None:
    release = sealed(tmp_path)
    (release / "onnx" / "late.txt").write_text("mine", encoding="utf-8")
    remove_release(release)
    assert contents(release).keys() == {
        str(release / "manifest.json"),
        str(release / "onnx" / "late.txt"),
    }


def test_an_output_called_like_what_is_held_back_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ReleaseError, match=r"ends in \.failed"):
        require_free(tmp_path / "release.failed", force=False)
    assert os.listdir(tmp_path) == []
