"""What may be deleted to make room: a release of ours, its listed files and nothing else.

A directory is one if its manifest is valid and lists every file in it. Whatever else is in the way is
somebody's, and refused by name. Not about work under way, which carries a mark (`ownership`).
"""

from __future__ import annotations

import os
from contextlib import suppress
from pathlib import Path

from exporter.errors import ReleaseError
from exporter.packaging.release import files_below
from runtimes.errors import ManifestError
from runtimes.manifest import MANIFEST_NAME, UNLISTED, read_manifest

_ELSEWHERE = "give another --output, or move it away"


def require_ours(place: Path) -> None:
    """Raise ReleaseError unless the directory is a release of ours and holds nothing besides.

    Files that were changed or are missing make it no less ours.
    """
    if (place / MANIFEST_NAME).is_symlink() or not (place / MANIFEST_NAME).is_file():
        raise ReleaseError(place, "is there and is not a release", _ELSEWHERE)
    try:
        listed = _listed(place)
    except ManifestError as error:
        raise ReleaseError(
            place, f"is there and is not a release of gemma-export's ({error})", _ELSEWHERE
        ) from error
    if others := [path for path in files_below(place) if path not in listed]:
        more = "" if len(others) == 1 else f" and {len(others) - 1} more"
        raise ReleaseError(
            place,
            f"holds {others[0]!r}{more}, which no release lists, and would be lost",
            "move what is yours out of it, or give another --output",
        )


def remove_release(place: Path) -> None:
    """Delete the files a release lists, the manifest last: whatever interrupts it, the next can go on.

    What somebody has put beside them since `require_ours` stays, and the directory with it.
    """
    try:
        listed = _listed(place)
    except ManifestError:
        return
    for path in [path for path in files_below(place) if path in listed and path != MANIFEST_NAME]:
        with suppress(OSError):
            (place / path).unlink()
    for parent, _, _ in os.walk(place, topdown=False):
        if Path(parent) != place:
            with suppress(OSError):  # not empty: somebody's
                os.rmdir(parent)
    with suppress(OSError):
        if os.listdir(place) == [MANIFEST_NAME]:
            (place / MANIFEST_NAME).unlink()
            place.rmdir()


def _listed(place: Path) -> set[str]:
    return {entry.path for entry in read_manifest(place).files} | set(UNLISTED)
