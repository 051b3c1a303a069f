"""`manifest.json`: what a release holds, in a versioned schema.

Strict both ways: an unknown key, a missing one or another type is an error that carries its path, because
a reader that guesses is how a device runs the wrong file. No path it names leaves the release. Schema 1 is
read as what it meant in the words of schema 2, which is the only one written.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal, TypedDict

from runtimes.errors import ManifestError
from runtimes.excerpt import excerpt
from runtimes.formats import Accelerator, Format
from runtimes.inside import is_inside, is_plain_path
from runtimes.records import RecordError, from_plain
from runtimes.session import PrefillLogits
from runtimes.strict_json import StrictJsonError, read_json_object

SCHEMA_VERSION = 2
MANIFEST_NAME, SUMS_NAME = "manifest.json", "SHA256SUMS"
UNLISTED = (MANIFEST_NAME, SUMS_NAME)  # no file describes itself

ComponentName = Literal["text", "vision", "audio"]
"""Parts of a model, each with weights and artifacts of its own: the decoder, and what makes rows for it."""
TowerName = Literal["vision", "audio"]

Port = Literal["tokens", "logits", "pixels", "image rows", "sound", "sound rows"]
"""What goes into or comes out of a component: ids of the vocabulary, a score for each of its entries; a
picture or a sound, rows that take the place of tokens' embeddings."""

LARGEST_MANIFEST = 16 << 20  # bytes; a release of a hundred files has some 20 KB
SHA256 = re.compile("[0-9a-f]{64}")


class ModelEntry(TypedDict):
    """left_out: what of the checkpoint is not in the release, in words."""

    name: str
    model_type: str
    parameters: int
    left_out: list[str]


class SourceEntry(TypedDict):
    """The checkpoint: the name of its path, and the digest of each file of it."""

    name: str
    sha256: dict[str, str]


class PlanEntry(TypedDict):
    """schemes: how many weights have each. weight_bytes: what they take together. accelerators: what of a
    device each format is meant for."""

    recipe: str
    target: str
    formats: list[Format]
    context: int
    schemes: dict[str, int]
    weight_bytes: int
    accelerators: dict[Format, Accelerator]


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

    component: the part of the model it computes: a decoder is the text's.
    path: the file or directory a driver opens, relative to the release.
    context: positions its KV cache holds.
    prefill_chunk: tokens per prefill call (the static signature of LiteRT; a sensible size elsewhere).
    prefill_logits: build option: logits for all positions of a prefill, the last one, or none.
    """

    component: Literal["text"]
    format: Format
    path: str
    context: int
    vocab_size: int
    prefill_chunk: int
    prefill_logits: PrefillLogits


@dataclass(frozen=True)
class EncoderArtifact:
    """One runnable tower, beside the decoder of its format.

    path: the file or directory a driver opens, relative to the release. decoder: the same of what takes
    its rows: the format's artifact where that takes tokens and rows, else a graph of the same weights
    beside it. soft_tokens: the most it makes of one image or sound. width: of a row.
    """

    component: TowerName
    format: Format
    path: str
    decoder: str
    soft_tokens: int
    width: int


@dataclass(frozen=True)
class CalibrationEntry:
    """The text that codes were found on. names: of its domains. sha256: of its tokens as little-endian
    int32."""

    names: tuple[str, ...]
    tokens: int
    sha256: str


@dataclass(frozen=True)
class TokensEntry:
    """What generating takes beside tokenizer.json. stop_tokens: ids that end a turn or the text."""

    bos_token: int
    stop_tokens: tuple[int, ...]


@dataclass(frozen=True)
class Manifest:
    """The release's table of contents.

    schema_version: always SCHEMA_VERSION, of whichever schema the file was.
    components: what the model is made of; every artifact is one's.
    versions: package → version that took part. calibration: None where codes were found without text,
    and in releases made before it was kept. tokens: None in releases made before they were kept. encoders:
    None where the release takes text alone.
    """

    schema_version: int
    model: ModelEntry
    source: SourceEntry
    components: dict[ComponentName, ComponentEntry]
    versions: dict[str, str]
    plan: PlanEntry
    artifacts: tuple[Artifact, ...]
    files: tuple[FileEntry, ...]
    calibration: CalibrationEntry | None = None
    tokens: TokensEntry | None = None
    encoders: tuple[EncoderArtifact, ...] | None = None

    def to_json(self) -> str:
        plain = {key: value for key, value in asdict(self).items() if value is not None}
        return json.dumps(plain, indent=2, sort_keys=True, ensure_ascii=False) + "\n"


def read_manifest(release: Path) -> Manifest:
    """Read and check `release/manifest.json`, of schema 1 or 2.

    Raises ManifestError naming the file and the key.
    """
    path = release / MANIFEST_NAME
    raw = _read_object(path)
    try:
        match raw.get("schema_version"):
            case 2:
                manifest = from_plain(Manifest, raw, absent_is_none=True)
            case 1:
                manifest = _in_schema_2(from_plain(_ManifestOfSchema1, raw))
            case other:
                raise ManifestError(
                    f"{path}: schema_version is {excerpt(other)} and this version reads 1 and 2; "
                    "use the gemma-export that wrote it, or export again"
                )
        _check(manifest)
    except RecordError as error:
        raise ManifestError(
            f"{path}: {error}; use the gemma-export that wrote it, or export again"
        ) from error
    opened = [each.path for each in manifest.artifacts]
    opened += [path for each in manifest.encoders or () for path in (each.path, each.decoder)]
    for name in opened + [file.path for file in manifest.files]:
        if not is_plain_path(name):
            raise ManifestError(
                f"{path}: {excerpt(name)} leaves the release directory; do not trust this release"
            )
        if not is_inside(release, release / name):
            raise ManifestError(
                f"{path}: {excerpt(name)} is a link out of the release directory; do not trust this release"
            )
    return manifest


def sha256_of(path: Path) -> str:
    """Hex SHA-256 of a file's bytes, read in 1 MiB pieces."""
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while piece := file.read(1 << 20):
            digest.update(piece)
    return digest.hexdigest()


@dataclass(frozen=True)
class _ArtifactOfSchema1:
    """An artifact before components had names."""

    format: Format
    path: str
    context: int
    vocab_size: int
    prefill_chunk: int
    prefill_logits: PrefillLogits


class _PlanOfSchema1(TypedDict):
    """A plan before accelerators were named: everything was for the CPU."""

    recipe: str
    target: str
    formats: list[Format]
    context: int
    schemes: dict[str, int]
    weight_bytes: int


@dataclass(frozen=True)
class _ManifestOfSchema1:
    """It knew one component, the text decoder, and described it in `model` alone."""

    schema_version: int
    model: ModelEntry
    source: SourceEntry
    versions: dict[str, str]
    plan: _PlanOfSchema1
    artifacts: tuple[_ArtifactOfSchema1, ...]
    files: tuple[FileEntry, ...]


def _in_schema_2(old: _ManifestOfSchema1) -> Manifest:
    text = ComponentEntry(old.model["model_type"], old.model["parameters"], ("tokens",), ("logits",))
    return Manifest(
        schema_version=SCHEMA_VERSION,
        model=old.model,
        source=old.source,
        components={"text": text},
        versions=old.versions,
        plan={**old.plan, "accelerators": dict.fromkeys(old.plan["formats"], "CPU")},
        artifacts=tuple(Artifact("text", **asdict(each)) for each in old.artifacts),
        files=old.files,
    )


def _check(manifest: Manifest) -> None:
    """Values that have the right type and cannot be."""
    for key in ("artifacts", "files"):
        if not getattr(manifest, key):
            raise RecordError(f"$.{key}", "is empty, and a release has at least one")
    _check_artifacts(manifest)
    if manifest.tokens is not None:
        for i, token in enumerate((manifest.tokens.bos_token, *manifest.tokens.stop_tokens)):
            _require_at_least(
                0, "$.tokens.bos_token" if i == 0 else f"$.tokens.stop_tokens[{i - 1}]", token
            )
    _require_each_once("$.files", [file.path for file in manifest.files])
    for i, file in enumerate(manifest.files):
        if file.path in UNLISTED:
            raise RecordError(f"$.files[{i}].path", f"is {file.path}, which no manifest lists")
        _require_at_least(0, f"$.files[{i}].size", file.size)
        if not SHA256.fullmatch(file.sha256):
            raise RecordError(f"$.files[{i}].sha256", f"is no SHA-256: {excerpt(file.sha256)}")


def _check_artifacts(manifest: Manifest) -> None:
    """Each by itself, and against what the manifest says of all of them."""
    plan = manifest.plan
    runnable: dict[str, Sequence[Artifact | EncoderArtifact]] = {
        "artifacts": manifest.artifacts,
        "encoders": manifest.encoders or (),
    }
    for key, i, each in ((key, i, each) for key, found in runnable.items() for i, each in enumerate(found)):
        if each.component not in manifest.components:
            raise RecordError(f"$.{key}[{i}].component", f"is {each.component!r}, not one of $.components")
    for i, artifact in enumerate(manifest.artifacts):
        for key in ("context", "vocab_size", "prefill_chunk"):
            _require_at_least(1, f"$.artifacts[{i}].{key}", getattr(artifact, key))
        if artifact.context != plan["context"]:
            raise RecordError(
                f"$.artifacts[{i}].context",
                f"is {excerpt(artifact.context)}, and $.plan.context is {excerpt(plan['context'])}",
            )
        if artifact.prefill_chunk > artifact.context:
            raise RecordError(
                f"$.artifacts[{i}].prefill_chunk",
                f"is {excerpt(artifact.prefill_chunk)}, more than the context of {artifact.context}",
            )
    _require_each_once("$.artifacts", [artifact.path for artifact in manifest.artifacts])
    for i, encoder in enumerate(manifest.encoders or ()):
        for key in ("soft_tokens", "width"):
            _require_at_least(1, f"$.encoders[{i}].{key}", getattr(encoder, key))
    _require_each_once("$.plan.formats", plan["formats"])
    formats = {artifact.format for artifact in manifest.artifacts}
    for key, said in (("formats", set(plan["formats"])), ("accelerators", set(plan["accelerators"]))):
        if said != formats:
            raise RecordError(
                f"$.plan.{key}",
                f"says {', '.join(sorted(said)) or 'none'}, and the artifacts are "
                f"{', '.join(sorted(formats))}",
            )


def _require_each_once(at: str, names: Sequence[str]) -> None:
    twice = [name for name, count in Counter(names).items() if count > 1]
    if twice:
        raise RecordError(at, f"has {excerpt(twice[0])} twice")


def _require_at_least(least: int, at: str, value: int) -> None:
    if value < least:
        raise RecordError(at, f"expected {least} or more, got {value}")


def _read_object(path: Path) -> dict[str, Any]:
    if path.is_symlink():
        raise ManifestError(f"{path}: is a link; put the release's own manifest there")
    try:
        return read_json_object(path, LARGEST_MANIFEST)
    except (FileNotFoundError, NotADirectoryError) as error:
        raise ManifestError(f"{path}: no such file; is this a release directory?") from error
    except OSError as error:
        raise ManifestError(f"{path}: cannot be read ({error.strerror}); check its permissions") from error
    except StrictJsonError as error:
        raise ManifestError(f"{path}: cannot be read as JSON ({error}); export again") from error
