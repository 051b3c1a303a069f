"""A quantised checkpoint's place: taken in one step once it is whole, and never from what is not ours.

Not about making one (`exporter.quantizing`) or about releases (`exporter.packaging.staging`).
"""

from __future__ import annotations

import os
import shutil
from pathlib import Path

from exporter.checkpoints.files.hub_layout import SMALL_FILES
from exporter.errors import ExportError, ReleaseError
from exporter.packaging.disks import explained
from exporter.packaging.exchange import exchange
from exporter.packaging.release import files_below
from exporter.quantization.store.journal import RECORD_NAME, read_record

_ELSEWHERE = "give another --output, or move it away"


def require_free_place(out: Path, force: bool) -> None:
    """Raise ReleaseError unless a quantised checkpoint may come to `out`: it is not there, empty or, with
    force, a quantised checkpoint of ours with nothing else in it."""
    if not os.path.lexists(out):
        return
    if out.is_symlink() or not out.is_dir():
        raise ReleaseError(out, "is there and is not a directory", "give another --output")
    try:
        found = files_below(out)
    except OSError as error:
        raise explained(out, error) from error
    if not found and not any(out.iterdir()):
        return
    try:
        read_record(out)
    except ExportError as error:
        raise ReleaseError(
            out, "is there and is not a quantised checkpoint of gemma-export's", _ELSEWHERE
        ) from error
    if others := [path for path in found if not _is_a_checkpoints(path)]:
        raise ReleaseError(
            out, f"holds {others[0]!r}, which no quantised checkpoint has, and would be lost", _ELSEWHERE
        )
    if not force:
        raise ReleaseError(
            out,
            "a quantised checkpoint is there already",
            "give another --output, or --force to replace it",
        )


def put_in_place(made: Path, out: Path, force: bool) -> None:
    """Rename a whole directory to `out`, which is asked about again: it took a while.

    made: beside it, on the same file system. Raises ReleaseError as `require_free_place`, and for what
    cannot be written.
    """
    require_free_place(out, force)
    try:
        if not (out.is_dir() and any(out.iterdir())):
            os.replace(made, out)  # an empty directory gives way
            return
        aside = made.with_name(f"{made.name}.replaced")
        if exchange(made, out):
            os.rename(made, aside)
        else:
            os.rename(out, aside)
            os.rename(made, out)
        shutil.rmtree(aside, ignore_errors=True)
    except OSError as error:
        raise explained(out, error) from error


def _is_a_checkpoints(path: str) -> bool:
    """Whether a relative path is one that `quantizing` writes."""
    return path in (*SMALL_FILES, RECORD_NAME) or ("/" not in path and path.endswith(".safetensors"))
