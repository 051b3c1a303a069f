"""`manifest.json`: what a release holds, in a versioned schema.

Strict both ways: an unknown or missing key is an error that carries its path, because a reader
that guesses is how a device runs the wrong file. Schema 1 is read as what it meant in the words of
schema 2, which is the only one written.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Collection, Mapping
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any, Literal, get_args

from runtimes.errors import ManifestError
from runtimes.formats import FORMATS, Format
from runtimes.session import PrefillLogits

SCHEMA_VERSION = 2
MANIFEST_NAME = "manifest.json"

ComponentName = Literal["text"]
"""The parts a model can be made of, each with weights and artifacts of its own: the text decoder."""
COMPONENT_NAMES: tuple[ComponentName, ...] = get_args(ComponentName)

Port = Literal["tokens", "logits"]
"""What goes into or comes out of a component: ids of the vocabulary, a score for each of its entries."""
PORTS: tuple[Port, ...] = get_args(Port)

TYPES: Mapping[str, type] = {"model_type": str, "parameters": int}
"""What a component is described by; in schema 1, the model."""


@dataclass(frozen=True)
class FileEntry:
    """One file of the release. `path` is relative to the release, with forward slashes."""

    path: str
    size: int
    sha256: str


@dataclass(frozen=True)
class ComponentEntry:
    """One component of the model. model_type: transformers' name of its architecture. inputs, outputs:
    what it takes and returns, in order."""

    model_type: str
    parameters: int
    inputs: tuple[Port, ...]
    outputs: tuple[Port, ...]


@dataclass(frozen=True)
class Artifact:
    """One runnable artifact.

    component: the part of the model it computes.
    path: the file or directory a driver opens, relative to the release.
    context: positions its KV cache holds.
    prefill_chunk: tokens per prefill call (the static signature of LiteRT; a sensible size elsewhere).
    prefill_logits: build option: logits for all positions of a prefill, the last one, or none.
    """

    component: ComponentName
    format: Format
    path: str
    context: int
    vocab_size: int
    prefill_chunk: int
    prefill_logits: PrefillLogits


@dataclass(frozen=True)
class Manifest:
    """The release's table of contents.

    schema_version: always SCHEMA_VERSION, of whichever schema the file was.
    model: name, family, parameter count. source: path name and digests of the checkpoint.
    components: what the model is made of; every artifact is one's.
    versions: package → version that took part. plan: recipe, context, and scheme → weight count.
    """

    schema_version: int
    model: dict[str, Any]
    source: dict[str, Any]
    components: dict[ComponentName, ComponentEntry]
    versions: dict[str, str]
    plan: dict[str, Any]
    artifacts: tuple[Artifact, ...]
    files: tuple[FileEntry, ...]

    def to_json(self) -> str:
        return json.dumps(asdict(self), indent=2, sort_keys=True, ensure_ascii=False) + "\n"


def read_manifest(release: Path) -> Manifest:
    """Read and check `release/manifest.json`, of schema 1 or 2.

    Raises ManifestError naming the file and the key.
    """
    path = release / MANIFEST_NAME
    top = _members(path, "$", _in_schema_2(path, _read_object(path)), _names(Manifest))
    components = _components(path, top["components"])
    artifacts = tuple(
        _artifact(path, f"$.artifacts[{i}]", entry, components)
        for i, entry in enumerate(_array(path, "$.artifacts", top["artifacts"]))
    )
    files = tuple(
        FileEntry(**_members(path, f"$.files[{i}]", entry, _names(FileEntry)))
        for i, entry in enumerate(_array(path, "$.files", top["files"]))
    )
    for name in [artifact.path for artifact in artifacts] + [file.path for file in files]:
        if Path(name).is_absolute() or ".." in Path(name).parts:
            raise ManifestError(f"{path}: {name!r} leaves the release directory; do not trust this release")
    return Manifest(**{**top, "components": components, "artifacts": artifacts, "files": files})


def sha256_of(path: Path) -> str:
    """Hex SHA-256 of a file's bytes, read in 1 MiB pieces."""
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while piece := file.read(1 << 20):
            digest.update(piece)
    return digest.hexdigest()


def _read_object(path: Path) -> dict[str, Any]:
    try:
        raw = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        raise ManifestError(f"{path}: no such file; is this a release directory?") from error
    except (OSError, ValueError) as error:
        raise ManifestError(f"{path}: cannot be read as JSON ({error}); export again") from error
    if not isinstance(raw, dict):
        raise ManifestError(f"{path}: expected an object at $; export again")
    return raw


def _in_schema_2(path: Path, raw: dict[str, Any]) -> dict[str, Any]:
    """The manifest as schema 2 has it. Raises ManifestError for a schema this version cannot read."""
    match raw.get("schema_version"):
        case 2:
            return raw
        case 1:
            return _from_schema_1(path, raw)
        case other:
            raise ManifestError(
                f"{path}: schema_version is {other!r} and this version reads 1 and 2; "
                "use the gemma-export that wrote it, or export again"
            )


def _from_schema_1(path: Path, raw: dict[str, Any]) -> dict[str, Any]:
    """Schema 1 knew one component, the text decoder, and described it in `model` alone."""
    top = _members(path, "$", raw, _names(Manifest) - {"components"})
    model = top["model"] if isinstance(top["model"], dict) else {}
    _require_types(path, "$.model", model)
    text = {key: model[key] for key in TYPES}
    artifacts = [
        {
            **_members(path, f"$.artifacts[{i}]", entry, _names(Artifact) - {"component"}),
            "component": "text",
        }
        for i, entry in enumerate(_array(path, "$.artifacts", top["artifacts"]))
    ]
    components = {"text": {**text, "inputs": ["tokens"], "outputs": ["logits"]}}
    return {**top, "schema_version": SCHEMA_VERSION, "components": components, "artifacts": artifacts}


def _components(path: Path, raw: object) -> dict[ComponentName, ComponentEntry]:
    if not isinstance(raw, dict):
        raise ManifestError(f"{path}: expected an object at $.components; export again")
    for name in raw:
        _require_one_of(path, "a name at $.components", name, COMPONENT_NAMES)
    return {name: _component(path, f"$.components.{name}", entry) for name, entry in raw.items()}


def _component(path: Path, at: str, raw: object) -> ComponentEntry:
    entry = _members(path, at, raw, _names(ComponentEntry))
    _require_types(path, at, entry)
    for key in ("inputs", "outputs"):
        for i, port in enumerate(_array(path, f"{at}.{key}", entry[key])):
            _require_one_of(path, f"{at}.{key}[{i}]", port, PORTS)
    return ComponentEntry(**{**entry, "inputs": tuple(entry["inputs"]), "outputs": tuple(entry["outputs"])})


def _require_types(path: Path, at: str, raw: dict[str, Any]) -> None:
    for key, kind in TYPES.items():
        if type(raw.get(key)) is not kind:
            raise ManifestError(
                f"{path}: {at}.{key} is {raw.get(key)!r}, expected {kind.__name__}; export again"
            )


def _artifact(path: Path, at: str, raw: object, components: Collection[ComponentName]) -> Artifact:
    artifact = Artifact(**_members(path, at, raw, _names(Artifact)))
    _require_one_of(path, f"{at}.component", artifact.component, tuple(components))
    _require_one_of(path, f"{at}.format", artifact.format, FORMATS)
    return artifact


def _require_one_of(path: Path, at: str, found: object, known: tuple[str, ...]) -> None:
    if found not in known:
        raise ManifestError(
            f"{path}: {at} is {found!r}, expected one of {known}; "
            "use the gemma-export that wrote it, or export again"
        )


def _names(kind: type) -> set[str]:
    return {field.name for field in fields(kind)}


def _members(path: Path, at: str, raw: object, names: set[str]) -> dict[str, Any]:
    if not isinstance(raw, dict):
        raise ManifestError(f"{path}: expected an object at {at}; export again")
    if unknown := sorted(set(raw) - names):
        raise ManifestError(f"{path}: unknown key {unknown[0]!r} at {at}; export again")
    if missing := sorted(names - set(raw)):
        raise ManifestError(f"{path}: missing key {missing[0]!r} at {at}; export again")
    return raw


def _array(path: Path, at: str, raw: object) -> list[object]:
    if not isinstance(raw, list):
        raise ManifestError(f"{path}: expected an array at {at}; export again")
    return raw
