"""The directory beside an output for what is not shipped, which an interrupted export leaves to the next.

Not about the release itself (`staging`).
"""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from exporter.errors import ExportError, ReleaseError


@contextmanager
def working_directory(out: Path) -> Iterator[Path]:
    """A directory beside the output `out`. It stays when an export is killed or interrupted, so that the
    next one to the same output goes on where it stopped."""
    work = out.absolute().parent / f".{out.name}.work"
    try:
        work.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise ReleaseError(
            out, f"cannot be written ({error.strerror})", "give an --output in a directory you may write to"
        ) from error
    try:
        yield work
    except ExportError:  # a refusal would be repeated: nothing to go on with
        shutil.rmtree(work, ignore_errors=True)
        raise
    shutil.rmtree(work, ignore_errors=True)
