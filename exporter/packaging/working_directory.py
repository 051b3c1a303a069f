"""One job at a time per output, in a directory beside it for what is not shipped.

    .NAME.work/             locked from the first byte to the last, and marked as ours
        export/ validate/ quantize/   what the job is making; an interrupted one leaves it to the next

The lock goes with the process, however that ends. Not about the release itself (`staging`).
"""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Collection, Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import Literal, get_args

from exporter.errors import ExportError, ReleaseError
from exporter.packaging.disks import of_full_disk
from exporter.packaging.mounts import is_mount_point
from exporter.packaging.ownership import MARK_NAME, Lock, hold, is_marked, mark
from exporter.packaging.staging import HELD_BACK
from runtimes.errors import RuntimesError
from runtimes.excerpt import plain_excerpt

Purpose = Literal["export", "validate", "quantize"]
LONGEST_NAME = 255 - len("..staging-01234567")  # bytes of a file's name, of which most systems take 255


@contextmanager
def held_output(out: Path) -> Iterator[Path]:
    """Hold the output `out` for this process; its working directory, which goes when nothing is left in it.

    Raises ReleaseError where another job holds it, where something that is not ours is in the way, or
    where nothing can be written or, at the end, put in its place.
    """
    out = Path(os.path.abspath(out))
    _require_nameable(out)
    try:
        with _claimed(out) as work:
            yield work
    except _Unwritable as error:
        raise ReleaseError(
            out, f"cannot be written ({error.reason})", "give an --output in a directory you may write to"
        ) from error


@contextmanager
def held_outputs(outputs: Sequence[Path], around: Path | None) -> Iterator[tuple[Path, ...]]:
    """`held_output` of each. around: the directory that was asked for, below which several lie; nothing
    else may be in it, and it goes where nothing came of them."""
    several = around is not None and around not in outputs
    if several and around is not None:
        _require_only(around, {out.name for out in outputs})
    try:
        with ExitStack() as stack:
            yield tuple(stack.enter_context(held_output(out)) for out in outputs)
    finally:
        if several and around is not None:
            with suppress(OSError):  # something came of them, or is kept
                around.rmdir()


def _require_nameable(out: Path) -> None:
    """Raise ReleaseError for an output that nothing could be renamed to, or next to which what is under way
    could not have its names."""
    if is_mount_point(out):
        raise ReleaseError(
            out,
            "is where a disk is mounted, and no finished directory can take its place",
            f"give a directory in it, such as --output {out / 'release'}",
        )
    if (spare := LONGEST_NAME - len(os.fsencode(out.name))) < 0:
        raise ReleaseError(
            plain_excerpt(out),
            f"has a name {-spare} bytes too long for what is beside it meanwhile",
            f"give an --output whose name has {LONGEST_NAME} bytes at most",
        )


def _require_only(around: Path, names: Collection[str]) -> None:
    """Raise ReleaseError for a directory that holds more than these releases and what exports leave."""
    if not os.path.lexists(around):
        return
    if around.is_symlink() or not around.is_dir():
        raise ReleaseError(around, "is there and is not a directory", "give another --output")
    for path in sorted(around.iterdir()):
        if path.name.startswith(".") or path.name.removesuffix(HELD_BACK) in names:
            continue  # work under way, a release or what was held back: asked about one by one
        raise ReleaseError(
            around,
            f"holds {path.name!r}, and the releases {', '.join(sorted(names))} are to be all that is in it",
            "give another --output, or move it away",
        )


@contextmanager
def held_release(release: Path) -> Iterator[Path]:
    """Hold a release that is only read, as an output is held; its working directory.

    Where nothing can be written beside the release, nobody can replace it there either: its working
    directory is then among the temporary files, and not held. Raises ReleaseError, as `held_output`.
    """
    release = Path(os.path.abspath(release))
    with ExitStack() as stack:
        try:
            work = stack.enter_context(_claimed(release))
        except _Unwritable:
            work = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="gemma-export-")))
        yield work


class _Unwritable(Exception):
    """Nothing can be written beside an output. reason: the system's, in words."""

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason


@contextmanager
def _claimed(out: Path) -> Iterator[Path]:
    """The marked and locked directory beside `out`. Parents made for it go where nothing came of it.

    Raises _Unwritable and ReleaseError.
    """
    work, made = out.parent / f".{out.name}.work", list[Path]()
    try:
        made += [each for each in (out.parent, *out.parent.parents) if not os.path.lexists(each)]
        lock = _claim(work, out)
    except BaseException as error:
        _remove_empty(made)
        if isinstance(error, OSError):
            raise _Unwritable(error.strerror or str(error)) from error
        raise
    try:
        yield work
    finally:
        with suppress(FileNotFoundError):  # somebody has removed it meanwhile
            if os.listdir(work) == [MARK_NAME]:
                shutil.rmtree(work, ignore_errors=True)
        lock.close()
        _remove_empty(made)


def _remove_empty(parents: Sequence[Path]) -> None:
    """parents: the innermost first."""
    with suppress(OSError):  # something came of it, or is kept, or was never made
        for parent in parents:
            parent.rmdir()


@contextmanager
def job_directory(held: Path, purpose: Purpose) -> Iterator[Path]:
    """A directory for one job, below what `held_output` gave.

    It stays when the job is killed, interrupted, out of disk or comes upon a defect, so that the next
    goes on where it stopped; the exception then carries a note that says so.
    """
    directory = held / purpose
    directory.mkdir(exist_ok=True)
    try:
        yield directory
    except BaseException as error:
        if isinstance(error, (ExportError, RuntimesError)) and not of_full_disk(error):
            shutil.rmtree(directory, ignore_errors=True)  # would be refused again: nothing to go on with
            raise
        with suppress(OSError):
            directory.rmdir()
        if directory.exists():
            error.add_note(
                f"What was finished is kept in {held}: run the same command again to go on from there, or "
                "delete it."
            )
        raise
    shutil.rmtree(directory, ignore_errors=True)


def _claim(work: Path, out: Path) -> Lock:
    work.parent.mkdir(parents=True, exist_ok=True)
    if work.is_symlink() or (os.path.lexists(work) and not work.is_dir()):
        raise _in_the_way(work, "is there and is not a directory")
    with suppress(FileExistsError):
        work.mkdir()
    try:
        lock = hold(work)
    except FileNotFoundError:  # its owner has just ended
        lock = None
    if lock is None:
        raise ReleaseError(
            out,
            f"another export or validation of it is under way (it holds {work.name})",
            "wait until it has ended, or give another --output",
        )
    try:
        _require_ours(work)
        mark(work)
    except BaseException:
        with suppress(OSError):
            work.rmdir()
        lock.close()
        raise
    return lock


def _require_ours(work: Path) -> None:
    found = set(os.listdir(work))
    if found and not is_marked(work):
        raise _in_the_way(work, "is there and was not made by gemma-export")
    if others := sorted(found - {MARK_NAME, *get_args(Purpose)}):
        raise _in_the_way(work, f"holds {others[0]!r}, which gemma-export did not put there")


def _in_the_way(work: Path, what: str) -> ReleaseError:
    return ReleaseError(work, what, "move it away, or give another --output")
