"""Which disk an error speaks of: the output's, the one for temporary files, or none.

Lowerings chain their causes, and libraries in C++ have words instead of an errno, so a full disk arrives
wrapped in errors of all kinds. Not about any file in particular.
"""

from __future__ import annotations

import errno
import os
import tempfile
from collections.abc import Iterator
from pathlib import Path

from exporter.errors import FullDiskError, ReleaseError

_FULL = (errno.ENOSPC, errno.EDQUOT)
_REFUSED = (errno.EACCES, errno.EPERM, errno.EROFS, errno.EFBIG, errno.EIO)
_PROBE = 256 << 10  # bytes; what cannot be written any more where a library has just failed


def disk_error(error: BaseException, out: Path) -> ReleaseError | None:
    """What to say instead of `error` where a disk is at its root, else None. out: the release to be."""
    if isinstance(error, ReleaseError) or not isinstance(error, Exception):
        return None  # says what there is to say; or an interrupt
    for cause in _causes(error):
        if isinstance(cause, OSError):
            ours = str(cause.filename or "").startswith(str(out.parent / f".{out.name}."))
            if cause.errno in _FULL and not ours and _temporary(cause):
                return temporary_disk_full()
            if cause.errno in _FULL and not ours and (full := _temporary_trouble()) is not None:
                return full
            if cause.errno in _FULL or (ours and cause.errno in _REFUSED):
                return explained(out, cause)
    if (full := _temporary_trouble()) is not None:
        return full
    if _is_full(out.parent):
        return explained(out, OSError(errno.ENOSPC, os.strerror(errno.ENOSPC)))
    return None


def full_disk(error: BaseException) -> ReleaseError | None:
    """`disk_error` where no output is known yet, or any more: only a full disk is told."""
    trouble = _temporary_trouble()
    for cause in _causes(error):
        if isinstance(cause, OSError) and cause.errno in _FULL:
            if _temporary(cause):
                return temporary_disk_full()
            return trouble or explained(Path(str(cause.filename or Path.cwd())), cause)
    return trouble


def of_full_disk(error: BaseException) -> bool:
    """Whether a full disk is at the root of an error, however it was put."""
    return any(
        isinstance(cause, FullDiskError) or (isinstance(cause, OSError) and cause.errno in _FULL)
        for cause in _causes(error)
    )


def temporary_disk_full() -> ReleaseError:
    """For a disk of temporary files that takes no more."""
    return FullDiskError(
        tempfile.gettempdir(),
        "the disk for temporary files is full",
        "free some space there, or set TMPDIR to a directory on another disk",
    )


def explained(out: Path, error: OSError) -> ReleaseError:
    """An OSError of the output's disk, in words."""
    if error.errno in _FULL:
        return FullDiskError(
            out,
            f"the disk is full ({error.strerror})",
            "free some space, or give an --output on another disk",
        )
    what = f"cannot be written ({error.strerror or error})"
    return ReleaseError(out, what, "give an --output in a directory you may write to")


def _temporary(error: OSError) -> bool:
    """Whether an error names a file among the temporary ones: it may be refused before the disk is full."""
    return bool(error.filename) and Path(str(error.filename)).is_relative_to(tempfile.gettempdir())


def _temporary_trouble() -> ReleaseError | None:
    """What is wrong with the directory for temporary files, if anything."""
    try:
        return temporary_disk_full() if _is_full(Path(tempfile.gettempdir())) else None
    except FileNotFoundError:  # Python found none it could write to
        return ReleaseError(
            os.environ.get("TMPDIR", "/tmp"),
            "no directory for temporary files can be written to",
            "make room or grant access there, or set TMPDIR to a directory that can",
        )


def _causes(error: BaseException) -> Iterator[BaseException]:
    seen: BaseException | None = error
    while seen is not None:
        yield seen
        seen = seen.__cause__ or seen.__context__


def _is_full(directory: Path) -> bool:
    """Whether a little more cannot be written there, found out by writing it."""
    try:
        with tempfile.TemporaryFile(dir=directory) as file:
            file.write(bytes(_PROBE))
            file.flush()
    except OSError as error:
        return error.errno in _FULL
    return False
