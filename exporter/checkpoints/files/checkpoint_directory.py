"""`CheckpointDirectory`: files of a downloaded checkpoint, none of them outside its directory.

A checkpoint names its own files (the shards in an index), so a hostile one could name anybody's.
Not about what the files hold (`huggingface.source`).
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from exporter.checkpoints.files.byte_ranges import sha256
from exporter.errors import CheckpointError


@dataclass(frozen=True)
class CheckpointDirectory:
    """A directory whose files are asked for by plain name."""

    path: Path

    @property
    def name(self) -> str:
        """The directory's name in plain letters, or the repository's where it lies in the Hub's cache."""
        path = self.path.absolute()
        repository = path.parent.parent.name.rpartition("--")[2] if path.parent.name == "snapshots" else ""
        plain = re.sub(r"[^a-z0-9.-]+", "-", (repository or path.resolve().name).lower()).strip("-.")
        return plain or "model"

    def digests(self, names: Iterable[str]) -> dict[str, str]:
        """SHA-256 of those of the named files that are there."""
        found = sorted({name for name in names if self.has(name)})
        return {name: sha256(self.file(name)) for name in found}

    def has(self, name: str) -> bool:
        return (self.path / name).exists()

    def file(self, name: str) -> Path:
        """The path of the file called `name`, which must be there.

        Raises CheckpointError for a name that is a path, a link that leaves the directory, and a file
        that is missing. The Hub's cache links `snapshots/<revision>/x` to `blobs`: that is allowed.
        """
        if name in ("", ".", "..") or name != Path(name).name or "\\" in name:
            raise CheckpointError(
                self.path,
                f"names the file {name!r}, which is not in the directory",
                "do not trust this checkpoint; fetch it from its publisher",
            )
        path = self.path / name
        if not path.is_file():
            raise CheckpointError(path, "is missing", "the download is incomplete, fetch it again")
        roots = [self.path.resolve()]
        if self.path.absolute().parent.name == "snapshots":
            roots.append(self.path.resolve().parent.parent / "blobs")
        if path.resolve().parent not in roots:
            raise CheckpointError(
                path,
                f"is a link to {path.resolve()}, outside the directory",
                "put the file itself there, if you trust it",
            )
        return path

    def json(self, name: str) -> dict[str, Any]:
        """The JSON object in a file. Raises CheckpointError when it cannot be read as one."""
        path = self.file(name)
        try:
            found = json.loads(path.read_text(encoding="utf-8"))
        except (OSError, ValueError, RecursionError) as error:
            raise CheckpointError(path, f"cannot be read as JSON ({error})", "fetch it again") from error
        if not isinstance(found, dict):
            raise CheckpointError(path, "is not a JSON object", "fetch it again")
        return found
