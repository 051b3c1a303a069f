"""`CheckpointDirectory`: files of a downloaded checkpoint, none of them outside its directory.

A checkpoint names its own files (the shards in an index), so a hostile one could name anybody's.
Not about what the files hold (`huggingface.source`).
"""

from __future__ import annotations

import fnmatch
import os
import re
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from exporter.checkpoints.files.byte_ranges import sha256
from exporter.checkpoints.files.pointers import refuse_pointer
from exporter.errors import CheckpointError
from runtimes.excerpt import excerpt
from runtimes.inside import is_inside, is_plain_path
from runtimes.strict_json import StrictJsonError, read_json_object


@dataclass(frozen=True)
class CheckpointDirectory:
    """A directory whose files are asked for by plain name."""

    path: Path

    @property
    def name(self) -> str:
        """The directory's name in plain letters, or the repository's where it lies in the Hub's cache."""
        cached = self._cached_repository
        return plain_name(cached.name.rpartition("--")[2] if cached else self.path.resolve().name)

    @property
    def repository(self) -> str | None:
        """OWNER/NAME on the Hub where it lies in the Hub's cache, None anywhere else."""
        if (cached := self._cached_repository) is None:
            return None
        return cached.name.removeprefix("models--").replace("--", "/", 1)

    @property
    def _cached_repository(self) -> Path | None:
        """The repository's directory in the Hub's cache, if this is a snapshot there, a folder of one, or
        a link to either."""
        path = self.path.resolve()
        above = (each.parent for each in path.parents if each.name == "snapshots")
        return next((each for each in above if each.name.startswith("models--")), None)

    def digests(self, names: Iterable[str]) -> dict[str, str]:
        """SHA-256 of those of the named files that are there."""
        found = sorted({name for name in names if self.has(name)})
        return {name: sha256(self.file(name)) for name in found}

    def has(self, name: str) -> bool:
        """Whether something is there by that name, were it a link that leads nowhere: `file` says so."""
        return os.path.lexists(self.path / name)

    def require_own(self, patterns: Iterable[str]) -> None:
        """Raise CheckpointError for what is no plain file of the directory among names that match a
        pattern: a link out of it, a pipe. A directory that is not asked for by its very name (`licenses/`)
        is passed over: nothing of it is read."""
        for pattern in patterns:  # Path.glob passes over a link that leads nowhere
            for name in fnmatch.filter(sorted(os.listdir(self.path)), pattern):
                path = self.path / name
                if name == pattern or path.is_symlink() or not path.is_dir():
                    self.file(name)

    def file(self, name: str) -> Path:
        """The path of the file called `name`, which must be there.

        Raises CheckpointError for a name that is a path, a link that leaves the directory, and a file
        that is missing. The Hub's cache links `snapshots/<revision>/x` to `blobs`: that is allowed.
        """
        plain = is_plain_path(name) and "/" not in name
        if not plain:
            raise CheckpointError(
                self.path,
                f"names the file {excerpt(name)}, which is not in the directory",
                "do not trust this checkpoint; fetch it from its publisher",
            )
        path = self.path / name
        if path.is_symlink() and not _leads_somewhere(path):
            raise CheckpointError(
                path, "is a link that leads nowhere, or to itself", "put the file itself there"
            )
        if os.path.lexists(path) and not path.is_file():
            raise CheckpointError(path, "is not a plain file", "put the file itself there")
        if not path.is_file():
            raise CheckpointError(path, "is missing", "the download is incomplete, fetch it again")
        roots = [self.path]
        if (cached := self._cached_repository) is not None:
            roots.append(cached / "blobs")
        if not any(is_inside(root, path) for root in roots):
            raise CheckpointError(
                path,
                f"is a link to {path.resolve()}, outside the directory",
                "put the file itself there, if you trust it",
            )
        refuse_pointer(path)
        return path

    def json(self, name: str) -> dict[str, Any]:
        """The JSON object in a file. Raises CheckpointError when it cannot be read as one."""
        path = self.file(name)
        try:
            return read_json_object(path)
        except (OSError, StrictJsonError) as error:
            raise CheckpointError(
                path, f"cannot be read as JSON ({error})", "mend it, or fetch it again"
            ) from error


def plain_name(reference: str) -> str:
    """The last word of a path or a Hub's name, in plain letters."""
    last = reference.rstrip("/").rpartition("/")[2]
    return re.sub(r"[^a-z0-9.-]+", "-", last.lower()).strip("-.") or "model"


def _leads_somewhere(link: Path) -> bool:
    try:
        link.stat()
    except OSError:
        return False
    return True
