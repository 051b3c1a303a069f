"""A full disk is named, whichever it is and in whatever error it arrives; nothing else is taken for one."""

from __future__ import annotations

import errno
import os
import tempfile
from pathlib import Path

import pytest

from exporter.errors import LoweringError, ReleaseError
from exporter.exits import exit_codes
from exporter.packaging import disks as module
from exporter.packaging.disks import disk_error
from exporter.packaging.staging import staged_release

FULL = OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


@pytest.fixture
def full_temporary_disk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A directory for temporary files that takes no more."""
    place = tmp_path / "temporary"
    place.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(place))
    monkeypatch.setattr(module, "_is_full", lambda directory: directory == place)
    return place


def wrapped(cause: Exception) -> Exception:
    error = LoweringError("model.mlpackage", "cannot be written", "look")
    error.__cause__ = cause
    return error


@pytest.mark.parametrize(
    "error",
    [
        FULL,
        wrapped(FULL),
        RuntimeError("Error writing weights"),
        wrapped(RuntimeError("Metadata written to")),
    ],
    ids=["errno", "wrapped errno", "of C++", "wrapped, of C++"],
)
def test_a_full_disk_of_temporary_files_is_named(
    tmp_path: Path, full_temporary_disk: Path, error: Exception
) -> None:
    def export() -> None:
        with staged_release(tmp_path / "release", force=False) as staging:
            (staging.directory / "half").touch()
            raise error

    with pytest.raises(ReleaseError, match=r"disk for temporary files is full.* set TMPDIR") as caught:
        export()
    assert caught.value.where == str(full_temporary_disk)
    assert os.listdir(tmp_path) == ["temporary"]


def test_it_is_named_outside_a_release_too(
    full_temporary_disk: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as caught, exit_codes(show_traceback=False):
        raise FULL
    assert caught.value.code == 2
    assert capsys.readouterr().err.startswith(f"error: {full_temporary_disk}: the disk for temporary files")


def test_a_full_disk_of_the_output_is_named_where_only_words_say_so(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "_is_full", lambda directory: directory == tmp_path)
    found = disk_error(RuntimeError("Error writing weights"), tmp_path / "release")
    assert str(found).startswith(f"{tmp_path / 'release'}: the disk is full")


@pytest.mark.parametrize(
    "error",
    [
        ValueError("odd"),
        KeyboardInterrupt(),
        PermissionError(errno.EACCES, "Permission denied", "tiny/config"),
    ],
)
def test_what_has_nothing_to_do_with_a_disk_stays_what_it_is(tmp_path: Path, error: BaseException) -> None:
    assert disk_error(error, tmp_path / "release") is None


def test_no_directory_for_temporary_files_is_refused_with_what_to_set(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tempfile, "tempdir", None)
    monkeypatch.setattr(tempfile, "_candidate_tempdir_list", lambda: [str(tmp_path / "missing")])
    found = disk_error(RuntimeError("odd"), tmp_path / "release")
    assert "no directory for temporary files" in str(found)
    assert "set TMPDIR" in str(found)


def test_a_disk_too_small_for_what_comes_is_named_before_it_is_full(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (place := tmp_path / "temporary").mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(place))
    asked = OSError(errno.ENOSPC, "9 KiB are needed", str(place / "gemma-litert-1"))
    found = disk_error(asked, tmp_path / "release")
    assert found is not None
    assert found.what == "the disk for temporary files is full"
    with pytest.raises(SystemExit) as ended, exit_codes(show_traceback=False):
        raise asked
    assert ended.value.code == 2
