"""A release appears whole or not at all, whatever stops the export, and an old one stays until then."""

from __future__ import annotations

import errno
import os
import subprocess
import sys
from pathlib import Path

import pytest

from exporter.errors import LoweringError, ReleaseError
from exporter.packaging import staging as module
from exporter.packaging.exchange import exchange
from exporter.packaging.staging import held_back_directory, staged_release
from tests.unit.exporter.packaging.test_release import ONNX, seal


def write_release(directory: Path, text: str) -> None:
    (directory / "onnx").mkdir()
    (directory / "onnx" / "model.onnx").write_text(text, encoding="utf-8")
    seal(directory, ONNX)


def held(directory: Path) -> str:
    """What was written into the release that is there now."""
    return (directory / "onnx" / "model.onnx").read_text(encoding="utf-8")


def old_release(tmp_path: Path) -> Path:
    out = tmp_path / "release"
    out.mkdir()
    (out / "only-in-the-old-one").touch()
    write_release(out, "old")
    return out


def only_these(directory: Path, *names: str) -> bool:
    return sorted(os.listdir(directory)) == sorted(names)


def test_what_was_staged_becomes_the_release(tmp_path: Path) -> None:
    out = tmp_path / "deep" / "er" / "release"
    with staged_release(out, force=False) as staging:
        assert staging.directory.parent.parent == out.parent
        write_release(staging.directory, "new")
        assert not out.exists()
    assert held(out) == "new"
    assert only_these(out.parent, "release")


def test_a_release_is_readable_by_those_the_umask_allows(tmp_path: Path) -> None:
    (tmp_path / "plain").mkdir()
    with staged_release(tmp_path / "release", force=False) as staging:
        write_release(staging.directory, "new")
    assert (tmp_path / "release").stat().st_mode == (tmp_path / "plain").stat().st_mode


def test_an_exception_leaves_nothing_behind_and_arrives_as_it_was(tmp_path: Path) -> None:
    def export() -> None:
        with staged_release(tmp_path / "release", force=False) as staging:
            write_release(staging.directory, "new")
            raise LoweringError("graph", "is odd", "look at it")

    with pytest.raises(LoweringError, match="is odd"):
        export()
    assert only_these(tmp_path)


def test_an_interrupt_leaves_nothing_behind(tmp_path: Path) -> None:
    def export() -> None:
        with staged_release(tmp_path / "release", force=False):
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        export()
    assert only_these(tmp_path)


def test_an_existing_release_is_refused_without_force_and_untouched(tmp_path: Path) -> None:
    out = old_release(tmp_path)
    with pytest.raises(ReleaseError, match="--force"), staged_release(out, force=False):
        pytest.fail("the body must not run")
    assert held(out) == "old"


@pytest.mark.parametrize("atomic", [True, False], ids=["exchange", "two renames"])
def test_force_replaces_the_whole_release(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, atomic: bool
) -> None:
    if not atomic:
        monkeypatch.setattr(module, "exchange", lambda one, other: False)
    out = old_release(tmp_path)
    with staged_release(out, force=True) as staging:
        write_release(staging.directory, "new")
        assert held(out) == "old"
    assert held(out) == "new"
    assert not (out / "only-in-the-old-one").exists()
    assert only_these(tmp_path, "release")


def test_the_old_release_survives_a_failed_replacement(tmp_path: Path) -> None:
    out = old_release(tmp_path)

    def export() -> None:
        with staged_release(out, force=True) as staging:
            write_release(staging.directory, "new")
            raise ValueError("no")

    with pytest.raises(ValueError, match="no"):
        export()
    assert held(out) == "old"
    assert only_these(tmp_path, "release")


def test_the_old_release_comes_back_when_the_second_rename_fails(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out = old_release(tmp_path)
    monkeypatch.setattr(module, "exchange", lambda one, other: False)
    rename = os.rename

    def failing(source: Path, target: Path) -> None:
        if ".staging-" in str(source):
            raise OSError(errno.EIO, os.strerror(errno.EIO))
        rename(source, target)

    monkeypatch.setattr(os, "rename", failing)
    with (
        pytest.raises(ReleaseError, match="Input/output error"),
        staged_release(out, force=True) as staging,
    ):
        write_release(staging.directory, "new")
    assert held(out) == "old"
    assert only_these(tmp_path, "release")


def test_a_leftover_that_cannot_be_cleared_undoes_nothing_that_was_published(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out = old_release(tmp_path)
    stranger = tmp_path / ".release.replaced" / "stranger"

    def in_the_way(one: Path, other: Path) -> bool:
        stranger.parent.mkdir()
        stranger.touch()
        return exchange(one, other)

    monkeypatch.setattr(module, "exchange", in_the_way)
    with staged_release(out, force=True) as staging:
        write_release(staging.directory, "new")
    assert held(out) == "new"
    assert stranger.exists()
    assert only_these(tmp_path, ".release.replaced", "release")


def test_a_replacement_killed_between_its_renames_is_undone_by_the_next_export(tmp_path: Path) -> None:
    out = old_release(tmp_path)
    os.rename(out, tmp_path / ".release.replaced")
    with pytest.raises(ReleaseError, match="already"), staged_release(out, force=False):
        pytest.fail("the body must not run")
    assert held(out) == "old"


@pytest.mark.parametrize("force", [True, False])
def test_a_directory_that_is_not_a_release_is_never_deleted(tmp_path: Path, force: bool) -> None:
    (tmp_path / "precious").write_text("x", encoding="utf-8")
    with pytest.raises(ReleaseError, match="not a release"), staged_release(tmp_path, force=force):
        pytest.fail("the body must not run")
    assert only_these(tmp_path, "precious")


def test_a_file_or_a_link_in_the_way_is_refused(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    (tmp_path / "link").symlink_to(old_release(tmp_path))
    for name in ("file", "link"):
        with (
            pytest.raises(ReleaseError, match="not a directory"),
            staged_release(tmp_path / name, force=True),
        ):
            pytest.fail("the body must not run")


def test_an_empty_directory_is_used_without_force(tmp_path: Path) -> None:
    out = tmp_path / "release"
    out.mkdir()
    with staged_release(out, force=False) as staging:
        write_release(staging.directory, "new")
    assert (out / "manifest.json").is_file()


@pytest.mark.parametrize("wrapped", [False, True])
def test_a_full_disk_is_said_plainly_even_inside_another_error(tmp_path: Path, wrapped: bool) -> None:
    def fill() -> None:
        with staged_release(tmp_path / "release", force=False):
            try:
                with open("/dev/full", "wb") as device:
                    device.write(b"x" * 100_000)
            except OSError as error:
                if wrapped:
                    raise LoweringError("model.onnx", "cannot be written", "look") from error
                raise

    with pytest.raises(ReleaseError, match=r"release: the disk is full .* free some space") as caught:
        fill()
    assert caught.value.__cause__ is not None
    assert only_these(tmp_path)


def test_an_output_that_may_not_be_written_is_refused_before_any_work(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with (
        pytest.raises(ReleaseError, match=r"cannot be written \(Not a directory|File exists\)"),
        staged_release(tmp_path / "file" / "release", force=False),
    ):
        pytest.fail("the body must not run")


def test_a_parent_without_permission_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    # The suite may run as root, whom no mode stops.
    def forbidden(self: Path, *_: object, **__: object) -> None:
        raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), str(self))

    monkeypatch.setattr(Path, "mkdir", forbidden)
    with (
        pytest.raises(ReleaseError, match=r"Permission denied.*may write"),
        staged_release(tmp_path / "r", False),
    ):
        pytest.fail("the body must not run")


def test_an_error_of_another_disk_is_not_taken_for_the_output_s(tmp_path: Path) -> None:
    def export() -> None:
        with staged_release(tmp_path / "release", force=False):
            (tmp_path / "no such checkpoint").read_bytes()

    with pytest.raises(FileNotFoundError):
        export()


def test_a_killed_export_leaves_no_release_and_the_next_one_cleans_up(tmp_path: Path) -> None:
    program = (
        "import os, signal, sys\n"
        "from pathlib import Path\n"
        "from exporter.packaging.staging import staged_release\n"
        "with staged_release(Path(sys.argv[1]), force=False) as staging:\n"
        "    (staging.directory / 'manifest.json').write_text('half')\n"
        "    os.kill(os.getpid(), signal.SIGKILL)\n"
    )
    out = tmp_path / "release"
    killed = subprocess.run([sys.executable, "-c", program, str(out)], check=False)
    assert killed.returncode != 0
    assert not out.exists()
    assert len(os.listdir(tmp_path)) == 1, "the killed process had staged something"
    with staged_release(out, force=False) as staging:
        write_release(staging.directory, "new")
    assert only_these(tmp_path, "release")


def test_of_two_exports_to_one_place_the_slower_is_refused_and_neither_removes_the_other_s_work(
    tmp_path: Path,
) -> None:
    def export_twice() -> None:
        with staged_release(tmp_path / "release", force=False) as slow:
            write_release(slow.directory, "slow")
            with staged_release(tmp_path / "release", force=False) as fast:
                write_release(fast.directory, "fast")
            assert held(slow.directory) == "slow"

    with pytest.raises(ReleaseError, match="already"):
        export_twice()
    assert held(tmp_path / "release") == "fast"
    assert only_these(tmp_path, "release")


def test_what_is_held_back_goes_beside_the_output_and_leaves_a_release_alone(tmp_path: Path) -> None:
    out = old_release(tmp_path)
    for text in ("first failure", "second failure"):
        with staged_release(out, force=True) as staging:
            write_release(staging.directory, text)
            staging.hold_back()
        assert staging.published == held_back_directory(out) == tmp_path / "release.failed"
        assert held(staging.published) == text
    assert held(out) == "old"
    assert only_these(tmp_path, "release", "release.failed")


def test_what_passes_is_published_at_the_output(tmp_path: Path) -> None:
    with staged_release(tmp_path / "release", force=False) as staging:
        write_release(staging.directory, "new")
    assert staging.published == tmp_path / "release"


def test_a_stranger_in_the_place_of_what_is_held_back_is_refused_before_any_work(tmp_path: Path) -> None:
    (tmp_path / "release.failed").mkdir()
    (tmp_path / "release.failed" / "precious").touch()
    with pytest.raises(ReleaseError, match="not a release"), staged_release(tmp_path / "release", False):
        pytest.fail("the body must not run")
    assert only_these(tmp_path / "release.failed", "precious")


def test_exchange_swaps_both_directories_or_touches_neither(tmp_path: Path) -> None:
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
        (tmp_path / name / name).touch()
    swapped = exchange(tmp_path / "a", tmp_path / "b")
    assert os.listdir(tmp_path / "a") == (["b"] if swapped else ["a"])
    assert os.listdir(tmp_path / "b") == (["a"] if swapped else ["b"])
    assert not exchange(tmp_path / "a", tmp_path / "missing")
