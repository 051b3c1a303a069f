"""Writing a release so that it is either there whole or not at all.

    1. Refuse an output that is in the way, and bring back what an interrupted replacement left.
    2. Make a staging directory beside the output: same file system, so that a rename publishes.
    3. The caller fills it.
    4. Flush every file and directory to the disk.
    5. Rename it to the output, or to the place of what is held back. Where a release is replaced,
       exchange the two in one step if the system can, else move the old one aside until the new
       one is in place.

Whatever stops it before step 5, no release directory appears; an old one stays as it was. What a
killed process leaves behind is removed by the next export to the same place. Not about what a
release holds (`release`), what may be replaced (`replacing`), or keeping other exports out
(`working_directory`).
"""

from __future__ import annotations

import os
import re
import secrets
import shutil
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from exporter.errors import ReleaseError
from exporter.packaging.disks import disk_error, explained
from exporter.packaging.exchange import exchange
from exporter.packaging.ownership import Lock, hold, is_marked, mark, owner_is_gone
from exporter.packaging.replacing import remove_release, require_ours

HELD_BACK = ".failed"


class Staging:
    """A release under way. directory: write here. published: where it will be, and is afterwards."""

    def __init__(self, directory: Path, out: Path) -> None:
        self.directory = directory
        self.published = out
        self._held_back = held_back_directory(out)

    def hold_back(self) -> None:
        """Do not publish: what was staged goes to `held_back_directory`, for somebody to look into.
        A release that is at the output already stays."""
        self.published = self._held_back


def held_back_directory(out: Path) -> Path:
    """Where a release that did not pass is kept: beside the output, under a name that says so."""
    out = Path(os.path.abspath(out))
    return out.parent / f"{out.name}{HELD_BACK}"


def require_free(out: Path, force: bool) -> None:
    """Raise ReleaseError unless a release may come to `out`, having brought back what an interrupted
    replacement left. force: as for `staged_release`."""
    out = Path(os.path.abspath(out))
    if out.name.endswith(HELD_BACK):
        raise ReleaseError(
            out, f"ends in {HELD_BACK}, as what is held back does", "give an --output of another name"
        )
    with _explaining(out):
        for place, replace in ((out, force), (held_back_directory(out), True)):
            _restore_interrupted(place)
            _refuse_in_the_way(place, replace)


@contextmanager
def staged_release(out: Path, force: bool) -> Iterator[Staging]:
    """A directory to write a release into; on leaving without an exception it becomes `out`.

    force: replace a release that is there. Anything else in the way is never deleted (`replacing`). What
    an earlier export held back is replaced without being asked. Raises ReleaseError for an output that is
    in the way, that cannot be written, or whose disk is full, or full of temporary files.
    """
    out = Path(os.path.abspath(out))
    held_back = held_back_directory(out)
    require_free(out, force)  # (1)
    with _explaining(out):
        out.parent.mkdir(parents=True, exist_ok=True)
        _remove_abandoned(out)
        place, lock = _place(out)  # (2)
    directory = place / "release"
    directory.mkdir()
    staging = Staging(directory, out)
    try:
        yield staging  # (3)
        goal = staging.published
        with _explaining(goal):
            _flush(directory)  # (4)
            _refuse_in_the_way(goal, force or goal == held_back)  # it took a while
            _publish(directory, goal)  # (5)
    except BaseException as error:
        shutil.rmtree(directory, ignore_errors=True)
        cause = disk_error(error, out)
        if cause is not None:
            raise cause from error
        raise
    finally:
        if not directory.exists():
            shutil.rmtree(place, ignore_errors=True)
        lock.close()


def _place(out: Path) -> tuple[Path, Lock]:
    """A marked and locked directory around what is staged: the mark is none of the release's files."""
    place = out.parent / f".{out.name}.staging-{secrets.token_hex(4)}"
    place.mkdir()
    lock = hold(place)
    if lock is None:
        raise ReleaseError(place, "was taken by another process", "export again")
    try:
        mark(place)
    except BaseException:
        shutil.rmtree(place, ignore_errors=True)
        lock.close()
        raise
    return place, lock


@contextmanager
def _explaining(out: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise explained(out, error) from error


def _refuse_in_the_way(out: Path, force: bool) -> None:
    if not os.path.lexists(out):
        return
    if out.is_symlink() or not out.is_dir():
        raise ReleaseError(out, "is there and is not a directory", "give another --output")
    if not any(out.iterdir()):
        return
    require_ours(out)
    if not force:
        raise ReleaseError(
            out, "a release is there already", "give another --output, or --force to replace it"
        )


def _publish(staging: Path, out: Path) -> None:
    """Put the staging directory in the output's place; the old release goes only after that."""
    if not (out.is_dir() and any(out.iterdir())):
        os.replace(staging, out)  # an empty directory gives way
        _flush_directory(out.parent)
        return
    aside = _aside(out)
    if exchange(staging, out):
        with suppress(OSError):  # the new one is in place: what is left of the old must not undo that
            os.rename(staging, aside)
    else:
        os.rename(out, aside)
        try:
            os.rename(staging, out)
        except BaseException:
            if not os.path.lexists(out):
                os.rename(aside, out)
            raise
    _flush_directory(out.parent)
    remove_release(aside)
    if os.path.lexists(staging):  # could not be put aside
        remove_release(staging)


def _aside(out: Path) -> Path:
    """Where the old release waits until the new one is in place, and to be deleted then."""
    return out.parent / f".{out.name}.replaced"


def _restore_interrupted(out: Path) -> None:
    """A process killed while it replaced a release left the old one aside: put it back, or delete it."""
    aside = _aside(out)
    if not os.path.lexists(aside):
        return
    if aside.is_symlink() or not aside.is_dir():
        raise ReleaseError(aside, "is there and is not a directory", "move it away")
    require_ours(aside)
    if os.path.lexists(out):
        remove_release(aside)
    else:
        os.rename(aside, out)


def _remove_abandoned(out: Path) -> None:
    """Staging directories of exports to the same place whose process is gone."""
    for left in out.parent.glob(f".{_escaped(out.name)}.staging-*"):
        if re.search(r"\.staging-[0-9a-f]{8}$", left.name) is None or not owner_is_gone(left):
            continue
        if is_marked(left):
            shutil.rmtree(left, ignore_errors=True)
        else:
            with suppress(OSError):
                left.rmdir()  # killed before it was marked, or not ours: then it is not empty


def _escaped(name: str) -> str:
    return "".join(f"[{each}]" if each in "*?[" else each for each in name)


def _flush(directory: Path) -> None:
    """fsync everything below, files before the directories that name them."""
    for parent, _, names in os.walk(directory, topdown=False):
        for name in names:
            path = Path(parent, name)
            if not path.is_symlink():
                with path.open("rb") as file:
                    os.fsync(file.fileno())
        _flush_directory(Path(parent))


def _flush_directory(directory: Path) -> None:
    # Windows cannot open a directory, and some network file systems cannot flush one.
    with suppress(OSError):
        descriptor = os.open(directory, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
