"""`manifest.json`: what a release holds, in a versioned schema.

Strict both ways: an unknown or missing key is an error that carries its path, because a reader
that guesses is how a device runs the wrong file.
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any, Literal

from runtimes.errors import ManifestError
from runtimes.session import PrefillLogits

SCHEMA_VERSION = 1
MANIFEST_NAME = "manifest.json"

Format = Literal["tflite", "litertlm", "onnx", "coreml"]
FORMATS: tuple[Format, ...] = ("tflite", "litertlm", "onnx", "coreml")


@dataclass(frozen=True)
class FileEntry:
    """One file of the release. `path` is relative to the release, with forward slashes."""

    path: str
    size: int
    sha256: str


@dataclass(frozen=True)
class Artifact:
    """One runnable artifact.

    path: the file or directory a driver opens, relative to the release.
    context: positions its KV cache holds.
    prefill_chunk: tokens per prefill call (the static signature of LiteRT; a sensible size elsewhere).
    prefill_logits: build option: logits for all positions of a prefill, the last one, or none.
    """

    format: Format
    path: str
    context: int
    vocab_size: int
    prefill_chunk: int
    prefill_logits: PrefillLogits


@dataclass(frozen=True)
class Manifest:
    """The release's table of contents.

    model: name, family, parameter count. source: path name and digests of the checkpoint.
    versions: package → version that took part. plan: recipe, context, and scheme → weight count.
    """

    schema_version: int
    model: dict[str, Any]
    source: dict[str, Any]
    versions: dict[str, str]
    plan: dict[str, Any]
    artifacts: tuple[Artifact, ...]
    files: tuple[FileEntry, ...]

    def to_json(self) -> str:
        return json.dumps(asdict(self), indent=2, sort_keys=True, ensure_ascii=False) + "\n"


def read_manifest(release: Path) -> Manifest:
    """Read and check `release/manifest.json`.

    Raises ManifestError naming the file and the key.
    """
    path = release / MANIFEST_NAME
    try:
        raw = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        raise ManifestError(f"{path}: no such file; is this a release directory?") from error
    except (OSError, ValueError) as error:
        raise ManifestError(f"{path}: cannot be read as JSON ({error}); export again") from error
    if not isinstance(raw, dict):
        raise ManifestError(f"{path}: expected an object at $; export again")
    version = raw.get("schema_version")
    if version != SCHEMA_VERSION:
        raise ManifestError(
            f"{path}: schema_version is {version!r} and this version reads {SCHEMA_VERSION}; "
            "use the gemma-export that wrote it, or export again"
        )
    top = _members(path, "$", raw, Manifest)
    artifacts = tuple(
        Artifact(**_members(path, f"$.artifacts[{i}]", entry, Artifact))
        for i, entry in enumerate(_array(path, "$.artifacts", top["artifacts"]))
    )
    for i, artifact in enumerate(artifacts):
        if artifact.format not in FORMATS:
            raise ManifestError(
                f"{path}: $.artifacts[{i}].format is {artifact.format!r}, expected one of {FORMATS}"
            )
    files = tuple(
        FileEntry(**_members(path, f"$.files[{i}]", entry, FileEntry))
        for i, entry in enumerate(_array(path, "$.files", top["files"]))
    )
    for name in [artifact.path for artifact in artifacts] + [file.path for file in files]:
        if Path(name).is_absolute() or ".." in Path(name).parts:
            raise ManifestError(f"{path}: {name!r} leaves the release directory; do not trust this release")
    return Manifest(**{**top, "artifacts": artifacts, "files": files})


def sha256_of(path: Path) -> str:
    """Hex SHA-256 of a file's bytes, read in 1 MiB pieces."""
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while piece := file.read(1 << 20):
            digest.update(piece)
    return digest.hexdigest()


def _members(path: Path, at: str, raw: object, kind: type) -> dict[str, Any]:
    if not isinstance(raw, dict):
        raise ManifestError(f"{path}: expected an object at {at}; export again")
    names = {field.name for field in fields(kind)}
    if unknown := sorted(set(raw) - names):
        raise ManifestError(f"{path}: unknown key {unknown[0]!r} at {at}; export again")
    if missing := sorted(names - set(raw)):
        raise ManifestError(f"{path}: missing key {missing[0]!r} at {at}; export again")
    return raw


def _array(path: Path, at: str, raw: object) -> list[object]:
    if not isinstance(raw, list):
        raise ManifestError(f"{path}: expected an array at {at}; export again")
    return raw
