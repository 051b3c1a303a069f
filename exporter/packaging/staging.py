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
release holds (`release`).
"""

from __future__ import annotations

import errno
import os
import secrets
import shutil
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from exporter.errors import ReleaseError
from exporter.packaging.exchange import exchange
from exporter.packaging.ownership import hold, owner_is_gone
from runtimes.manifest import MANIFEST_NAME

_FULL = (errno.ENOSPC, errno.EDQUOT)
_REFUSED = (errno.EACCES, errno.EPERM, errno.EROFS, errno.EFBIG, errno.EIO)


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
    return out.parent / f"{out.name}.failed"


def require_free(out: Path, force: bool) -> None:
    """Raise ReleaseError unless a release may come to `out`, having brought back what an interrupted
    replacement left. force: as for `staged_release`."""
    out = Path(os.path.abspath(out))
    with _explaining(out):
        for place, replace in ((out, force), (held_back_directory(out), True)):
            _restore_interrupted(place)
            _refuse_in_the_way(place, replace)


@contextmanager
def staged_release(out: Path, force: bool) -> Iterator[Staging]:
    """A directory to write a release into; on leaving without an exception it becomes `out`.

    force: replace a release that is there. Only a directory with a manifest is taken for one:
    anything else in the way is never deleted. What an earlier export held back is replaced without
    being asked. Raises ReleaseError for an output that is in the way, that cannot be written, or
    whose disk is full.
    """
    out = Path(os.path.abspath(out))
    held_back = held_back_directory(out)
    require_free(out, force)  # (1)
    with _explaining(out):
        out.parent.mkdir(parents=True, exist_ok=True)
        _remove_abandoned(out)
        directory = out.parent / f".{out.name}.staging-{secrets.token_hex(4)}"
        directory.mkdir()  # (2)
        lock = hold(directory)
    staging = Staging(directory, out)
    try:
        yield staging  # (3)
        place = staging.published
        with _explaining(place):
            _flush(directory)  # (4)
            _refuse_in_the_way(place, force or place == held_back)  # another export may have been faster
            _publish(directory, place)  # (5)
    except BaseException as error:
        shutil.rmtree(directory, ignore_errors=True)
        cause = _disk_error(error, directory)
        if cause is not None:
            raise _explained(out, cause) from error
        raise
    finally:
        lock.close()


@contextmanager
def _explaining(out: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise _explained(out, error) from error


def _refuse_in_the_way(out: Path, force: bool) -> None:
    if not os.path.lexists(out):
        return
    if out.is_symlink() or not out.is_dir():
        raise ReleaseError(out, "is there and is not a directory", "give another --output")
    if not any(out.iterdir()):
        return
    if not (out / MANIFEST_NAME).is_file():
        raise ReleaseError(out, "is there and is not a release", "give another --output")
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
    if exchange(staging, out):
        replaced = staging
    else:
        replaced = _aside(out)
        os.rename(out, replaced)
        try:
            os.rename(staging, out)
        except BaseException:
            if not os.path.lexists(out):
                os.rename(replaced, out)
            raise
    _flush_directory(out.parent)
    shutil.rmtree(replaced, ignore_errors=True)


def _aside(out: Path) -> Path:
    """Where the old release waits between the two renames of a replacement."""
    return out.parent / f".{out.name}.replaced"


def _restore_interrupted(out: Path) -> None:
    """A process killed between the two renames left the old release aside: put it back."""
    aside = _aside(out)
    if not aside.is_dir():
        return
    if os.path.lexists(out):
        shutil.rmtree(aside)
    else:
        os.rename(aside, out)


def _remove_abandoned(out: Path) -> None:
    """Staging directories of exports to the same place whose process is gone."""
    for left in out.parent.glob(f".{_escaped(out.name)}.staging-*"):
        if left.is_dir() and owner_is_gone(left):
            shutil.rmtree(left, ignore_errors=True)


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


def _disk_error(error: BaseException, staging: Path) -> OSError | None:
    """The OSError at the root of `error` if it speaks of the output's disk, else None.

    Lowerings chain their causes, so a full disk may arrive wrapped in an error of theirs.
    """
    if isinstance(error, ReleaseError):
        return None  # says what there is to say
    seen: BaseException | None = error
    while seen is not None:
        if isinstance(seen, OSError):
            below = str(seen.filename or "").startswith(str(staging))
            if seen.errno in _FULL or (below and seen.errno in _REFUSED):
                return seen
        seen = seen.__cause__ or seen.__context__
    return None


def _explained(out: Path, error: OSError) -> ReleaseError:
    if error.errno in _FULL:
        return ReleaseError(
            out,
            f"the disk is full ({error.strerror})",
            "free some space or give an --output on another disk; nothing was left behind",
        )
    what = f"cannot be written ({error.strerror or error})"
    return ReleaseError(out, what, "give an --output in a directory you may write to")
