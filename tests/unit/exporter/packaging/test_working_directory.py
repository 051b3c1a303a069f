"""One job per output: the second is refused and harms nothing; what is kept and what goes with the job."""

from __future__ import annotations

import errno
import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from exporter.errors import FullDiskError, LoweringError, ReleaseError
from exporter.packaging import working_directory
from exporter.packaging.ownership import MARK, MARK_NAME
from exporter.packaging.staging import staged_release
from exporter.packaging.working_directory import LONGEST_NAME, held_output, held_release, job_directory

HOLDER = """
import sys, time
from pathlib import Path
from exporter.packaging.working_directory import held_output, job_directory
with held_output(Path(sys.argv[1])) as held, job_directory(held, "export") as work:
    (work / "matrix").write_text("finished")
    print("held", flush=True)
    time.sleep(600)
"""


def holder(out: Path) -> subprocess.Popen[str]:
    """A process that holds the output, and has begun to work."""
    command = [sys.executable, "-c", HOLDER, str(out)]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    assert process.stdout.readline() == "held\n"
    return process


def wrapped(cause: Exception) -> Exception:
    """A refusal in words of its own, with this at its root."""
    error = LoweringError("matrix.bin", "cannot be written", "look")
    error.__cause__ = cause
    return error


def test_a_second_job_is_refused_and_the_first_does_not_notice(tmp_path: Path) -> None:
    out = tmp_path / "release"
    with (
        held_output(out) as held,
        job_directory(held, "export") as work,
    ):
        (work / "matrix").touch()
        with pytest.raises(ReleaseError, match=r"under way \(it holds \.release\.work\)"), held_output(out):
            pytest.fail("the body must not run")
        assert os.listdir(work) == ["matrix"]
    assert os.listdir(tmp_path) == []


def test_another_process_is_refused_until_the_first_is_gone_however_it_went(tmp_path: Path) -> None:
    out = tmp_path / "release"
    first = holder(out)
    try:
        with pytest.raises(ReleaseError, match="under way"), held_output(out):
            pytest.fail("the body must not run")
        assert (tmp_path / ".release.work" / "export" / "matrix").read_text() == "finished"
    finally:
        os.kill(first.pid, signal.SIGKILL)
        first.wait()
    with held_output(out) as held, job_directory(held, "export") as work:
        assert (work / "matrix").read_text() == "finished"
    assert os.listdir(tmp_path) == []


def test_a_working_directory_removed_meanwhile_hides_nothing(tmp_path: Path) -> None:
    def removed() -> None:
        with held_output(tmp_path / "release") as held:
            shutil.rmtree(held)
            raise ValueError("what went wrong")

    with pytest.raises(ValueError, match="what went wrong"):
        removed()


def test_two_outputs_in_one_directory_do_not_meet(tmp_path: Path) -> None:
    first = holder(tmp_path / "one")
    try:
        with held_output(tmp_path / "two") as held, job_directory(held, "export") as work:
            (work / "matrix").touch()
        assert os.listdir(tmp_path) == [".one.work"]
    finally:
        first.kill()
        first.wait()


def test_a_refusal_takes_the_job_s_work_with_it_and_nothing_else(tmp_path: Path) -> None:
    def refused() -> None:
        with held_output(tmp_path / "release") as held:
            (held / "export").mkdir()  # of an interrupted export
            with job_directory(held, "validate") as work:
                (work / "matrix").touch()
                raise LoweringError("graph", "is odd", "look at it")

    with pytest.raises(LoweringError):
        refused()
    assert sorted(os.listdir(tmp_path / ".release.work")) == [MARK_NAME, "export"]


@pytest.mark.parametrize(
    "error",
    [
        KeyboardInterrupt(),
        ValueError(),
        FullDiskError("release", "the disk is full", "free some space"),
        wrapped(OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))),
    ],
    ids=["interrupt", "defect", "full disk", "full disk in other words"],
)
def test_what_an_interrupted_job_has_finished_is_kept_and_said_to_be(
    tmp_path: Path, error: BaseException
) -> None:
    def interrupted() -> None:
        with held_output(tmp_path / "release") as held, job_directory(held, "export") as work:
            (work / "matrix").touch()
            raise error

    with pytest.raises(type(error)) as caught:
        interrupted()
    (note,) = caught.value.__notes__
    assert f"kept in {tmp_path / '.release.work'}: run the same command again" in note
    assert (tmp_path / ".release.work" / "export" / "matrix").exists()


@pytest.mark.parametrize("kept", [False, True])
def test_directories_made_for_an_output_go_where_nothing_came_of_it(tmp_path: Path, kept: bool) -> None:
    (tmp_path / "there").mkdir()
    out = tmp_path / "there" / "releases" / "mine" / "release"
    with held_output(out):
        if kept:
            out.mkdir()
    assert [each.name for each in (tmp_path / "there").iterdir()] == (["releases"] if kept else [])
    assert out.exists() == kept


@pytest.mark.parametrize("length", [LONGEST_NAME + 1, 250, 255, 4000])
def test_a_name_too_long_for_what_is_beside_it_meanwhile_is_refused_and_leaves_nothing(
    tmp_path: Path, length: int
) -> None:
    out = tmp_path / "releases" / "mine" / ("n" * length)
    with pytest.raises(ReleaseError, match=f"{LONGEST_NAME} bytes at most"), held_output(out):
        pytest.fail("the body must not run")
    assert os.listdir(tmp_path) == []


def test_a_name_as_long_as_may_be_has_room_for_a_release_under_way(tmp_path: Path) -> None:
    out = tmp_path / ("n" * LONGEST_NAME)
    with held_output(out), staged_release(out, force=False) as staging:
        (staging.directory / "weights").touch()
    assert os.listdir(out) == ["weights"]


def test_directories_made_for_an_output_go_where_it_cannot_be_held(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:

    def refuse(*_: object) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(working_directory, "mark", refuse)
    with (
        pytest.raises(ReleaseError, match="cannot be written"),
        held_output(tmp_path / "releases" / "mine" / "release"),
    ):
        pytest.fail("the body must not run")
    assert os.listdir(tmp_path) == []


def test_a_place_where_a_disk_is_mounted_is_refused_with_a_directory_in_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nothing can be renamed to it, which was found out behind the last gate."""
    out = tmp_path / "out"
    out.mkdir()
    monkeypatch.setattr(working_directory, "is_mount_point", out.__eq__)
    with pytest.raises(ReleaseError, match=r"disk is mounted.*--output \S+/out/release"), held_output(out):
        pytest.fail("the body must not run")
    with held_output(out / "release"):
        assert os.listdir(out) == [".release.work"]


def test_an_interrupt_before_anything_was_finished_leaves_nothing(tmp_path: Path) -> None:
    def interrupted() -> None:
        with held_output(tmp_path / "release") as held, job_directory(held, "export"):
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt) as caught:
        interrupted()
    assert not hasattr(caught.value, "__notes__")
    assert os.listdir(tmp_path) == []


@pytest.mark.parametrize("name", ["thesis.tex", MARK_NAME])
def test_a_stranger_in_the_place_of_the_work_is_refused_and_kept(tmp_path: Path, name: str) -> None:
    work = tmp_path / ".release.work"
    work.mkdir()
    (work / name).write_text("mine", encoding="utf-8")
    with (
        pytest.raises(ReleaseError, match=r"\.release\.work: is there and was not made by gemma-export"),
        held_output(tmp_path / "release"),
    ):
        pytest.fail("the body must not run")
    assert (work / name).read_text(encoding="utf-8") == "mine"


def test_somebody_s_file_among_the_work_is_refused_by_name_and_kept(tmp_path: Path) -> None:
    work = tmp_path / ".release.work"
    work.mkdir()
    (work / MARK_NAME).write_text(MARK, encoding="utf-8")
    (work / "thesis.tex").write_text("mine", encoding="utf-8")
    with pytest.raises(ReleaseError, match=r"holds 'thesis\.tex'"), held_output(tmp_path / "release"):
        pytest.fail("the body must not run")
    assert sorted(os.listdir(work)) == [MARK_NAME, "thesis.tex"]


def test_half_a_mark_alone_is_ours(tmp_path: Path) -> None:
    work = tmp_path / ".release.work"
    work.mkdir()
    (work / MARK_NAME).write_text(MARK[:10], encoding="utf-8")
    with held_output(tmp_path / "release") as held:
        assert (held / MARK_NAME).read_text(encoding="utf-8") == MARK
    assert os.listdir(tmp_path) == []


def test_a_link_in_the_place_of_the_work_is_refused(tmp_path: Path) -> None:
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / ".release.work").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(ReleaseError, match="is not a directory"), held_output(tmp_path / "release"):
        pytest.fail("the body must not run")


@pytest.fixture
def nothing_to_be_written_in(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A directory on a disk that is mounted to be read (a mode would not keep root out)."""
    mkdir = Path.mkdir

    def refuse(path: Path, *arguments: Any, **keywords: Any) -> None:
        if path.parent == tmp_path:
            raise OSError(errno.EROFS, os.strerror(errno.EROFS), str(path))
        mkdir(path, *arguments, **keywords)

    monkeypatch.setattr(Path, "mkdir", refuse)
    return tmp_path


def test_an_output_that_cannot_be_written_is_refused(nothing_to_be_written_in: Path) -> None:
    with (
        pytest.raises(ReleaseError, match=r"cannot be written \(Read-only file system\); give an --output"),
        held_output(nothing_to_be_written_in / "release"),
    ):
        pytest.fail("the body must not run")


def test_a_release_that_can_only_be_read_is_worked_on_elsewhere(nothing_to_be_written_in: Path) -> None:
    with (
        held_release(nothing_to_be_written_in / "release") as held,
        job_directory(held, "validate") as work,
    ):
        (work / "matrix").touch()
        assert nothing_to_be_written_in not in work.parents
    assert not held.exists()
    assert os.listdir(nothing_to_be_written_in) == []


def test_a_release_beside_which_something_can_be_written_is_held_there(tmp_path: Path) -> None:
    with held_release(tmp_path / "release") as held:
        assert held == tmp_path / ".release.work"
        with pytest.raises(ReleaseError, match="under way"), held_output(tmp_path / "release"):
            pytest.fail("the body must not run")
    assert os.listdir(tmp_path) == []
