"""Sealing a release and checking a sealed one.

    manifest.json   lists every file but itself and SHA256SUMS, reports included
    SHA256SUMS      covers every file but itself, manifest.json included; `sha256sum -c` reads it

So reports are written first, then the manifest, then the sums: no file describes itself. Not about
whether the artifacts are any good (`exporter.validation`), nor about where the directory goes
(`staging`).
"""

from __future__ import annotations

import os
import platform
import sys
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path

from exporter import __version__
from exporter.checkpoints.interface import CheckpointSource
from exporter.errors import ReleaseError
from exporter.formats.table import facts_of
from exporter.models.components import Component
from exporter.planning.plan import Plan
from exporter.progress import Progress
from runtimes.errors import ManifestError
from runtimes.formats import Format
from runtimes.manifest import (
    MANIFEST_NAME,
    SCHEMA_VERSION,
    SUMS_NAME,
    UNLISTED,
    Artifact,
    ComponentEntry,
    EncoderArtifact,
    FileEntry,
    Manifest,
    TokensEntry,
    read_manifest,
    sha256_of,
)
from runtimes.strict_json import read_plain_file

# Whatever the formats are; who of them took part is a matter of the checkpoint.
_OF_ANY_FORMAT = (
    "accelerate",
    "compressed-tensors",
    "numpy",
    "safetensors",
    "tokenizers",
    "torch",
    "transformers",
)
_IMPORTED_AS = {"protobuf": "google.protobuf"}  # the others as they are called


MISSING = "is missing"


@dataclass(frozen=True)
class Runnable:
    """What of a release runs: a decoder for each format, and the towers beside them."""

    artifacts: tuple[Artifact, ...]
    encoders: tuple[EncoderArtifact, ...] = ()

    @property
    def paths(self) -> tuple[str, ...]:
        """All that a driver opens, each once."""
        towers = (path for each in self.encoders for path in (each.path, each.decoder))
        return tuple(dict.fromkeys((*(each.path for each in self.artifacts), *towers)))


@dataclass(frozen=True)
class Problem:
    """One thing that is wrong with a release."""

    path: str
    what: str

    @property
    def in_short(self) -> str:
        """Of a file that something else depends on: whether it is there at all."""
        return f"{self.path} {MISSING if self.what == MISSING else 'is not as it was sealed'}"

    def __str__(self) -> str:
        return f"{self.path}: {self.what}"


def participating_versions(formats: Iterable[Format], also: Iterable[str] = ()) -> dict[str, str]:
    """Package to version of everything that took part in writing these formats, so far.

    Took part: this process has imported it. What is only installed is not named. also: packages of the
    checkpoint's own format.
    """
    names = {*_OF_ANY_FORMAT, *also}.union(*(facts_of(each).packages for each in formats))
    found = {"gemma-export": __version__, "python": platform.python_version()}
    for name in sorted(names):
        if _IMPORTED_AS.get(name, name.replace("-", "_")) in sys.modules:
            found[name] = version(name)
    return found


def seal_release(
    release: Path,
    *,
    source: CheckpointSource,
    plan: Plan,
    runnable: Runnable,
    versions: Mapping[str, str],
    progress: Progress | None = None,
) -> Manifest:
    """Write manifest.json and SHA256SUMS over everything that is in the directory.

    Raises ReleaseError for what a manifest cannot speak of: links, and names with line breaks.
    """
    paths = files_below(release)
    for path in paths:
        if (release / path).is_symlink() or "\n" in path or "\\" in path:
            raise ReleaseError(
                release / path, "a link or a name no manifest can hold", "write a plain file"
            )
    described = [path for path in paths if path not in UNLISTED]
    for opened in runnable.paths:
        if not any(path == opened or path.startswith(f"{opened}/") for path in described):
            raise ReleaseError(release / opened, "the artifact was not written", "export again")
    text = source.components["text"]
    manifest = Manifest(
        schema_version=SCHEMA_VERSION,
        model={
            "name": source.name,
            "model_type": text.spec.model_type,
            "parameters": text.spec.parameter_count(),
            "left_out": list(source.left_out),
        },
        source={"name": source.name, "sha256": dict(sorted(source.digests().items()))},
        components={name: _described(component) for name, component in source.components.items()},
        versions=dict(versions),
        calibration=plan.calibration,
        plan={
            "recipe": plan.variant.recipe.name,
            "target": plan.variant.name,
            "formats": list(plan.variant.formats),
            "context": plan.variant.context,
            "schemes": dict(sorted(plan.scheme_counts().items())),
            "weight_bytes": plan.weight_bytes,
            "accelerators": {
                format: plan.variant.accelerators.get(format, "CPU") for format in plan.variant.formats
            },
        },
        artifacts=runnable.artifacts,
        encoders=runnable.encoders or None,
        tokens=TokensEntry(source.tokens.bos_token, source.tokens.stop_tokens),
        files=tuple(_entries(release, described, progress)),
    )
    (release / MANIFEST_NAME).write_text(manifest.to_json(), encoding="utf-8")
    (release / SUMS_NAME).write_text(_sums(release, manifest), encoding="utf-8")
    return manifest


def verify_release(release: Path, progress: Progress | None = None) -> tuple[Problem, ...]:
    """Everything that differs from what was sealed; empty for an intact release.

    Reads every byte once. Digests guard against accidents, not against somebody who changes the
    manifest too: compare SHA256SUMS with the publisher's for that.
    """
    try:
        manifest = read_manifest(release)
    except ManifestError as error:
        return (Problem(MANIFEST_NAME, str(error)),)
    problems: list[Problem] = []
    listed = {entry.path: entry for entry in manifest.files}
    found = set(files_below(release))
    total = sum(entry.size for entry in manifest.files)
    done = 0
    for path, entry in listed.items():
        if progress is not None:
            progress("check digests", done, total)
        if (what := _difference(release / path, entry)) is not None:
            problems.append(Problem(path, what))
        done += entry.size
    if progress is not None:
        progress("check digests", total, total)
    for path in sorted(found - set(listed) - set(UNLISTED)):
        problems.append(Problem(path, "is not in the manifest"))
    for opened in Runnable(manifest.artifacts, manifest.encoders or ()).paths:
        if not any(path == opened or path.startswith(f"{opened}/") for path in listed):
            problems.append(Problem(opened, "is an artifact without files"))
    if (what := _sums_difference(release, manifest)) is not None:
        problems.append(Problem(SUMS_NAME, what))
    return tuple(problems)


def require_unchanged(release: Path, manifest: Manifest, path: str) -> None:
    """Raise ReleaseError where a file of the artifact at `path`, or one beside it under its name, is not
    what was sealed. Reads every byte of them once."""
    for entry in manifest.files:
        if not entry.path.startswith(path):
            continue
        if (what := _difference(release / entry.path, entry)) is not None:
            raise ReleaseError(release / entry.path, what, "copy the release again, or export again")


def sizes(release: Path) -> dict[str, int]:
    """Relative path to bytes, of every file below the directory, sorted."""
    return {path: (release / path).stat().st_size for path in files_below(release)}


def _described(component: Component) -> ComponentEntry:
    spec = component.spec
    return ComponentEntry(spec.model_type, spec.parameter_count(), component.inputs, component.outputs)


def files_below(release: Path) -> list[str]:
    """Relative paths with forward slashes of all files and links below, sorted."""
    found = []
    for parent, directories, names in os.walk(release):
        links = [name for name in directories if Path(parent, name).is_symlink()]
        found += [Path(parent, name).relative_to(release).as_posix() for name in [*names, *links]]
    return sorted(found)


def _entries(release: Path, paths: list[str], progress: Progress | None) -> Iterable[FileEntry]:
    total = sum((release / path).stat().st_size for path in paths)
    done = 0
    for path in paths:
        if progress is not None:
            progress("digest files", done, total)
        size = (release / path).stat().st_size
        yield FileEntry(path, size, sha256_of(release / path))
        done += size
    if progress is not None:
        progress("digest files", total, total)


def _sums(release: Path, manifest: Manifest) -> str:
    digests = {entry.path: entry.sha256 for entry in manifest.files}
    digests[MANIFEST_NAME] = sha256_of(release / MANIFEST_NAME)
    return "".join(f"{digest}  {path}\n" for path, digest in sorted(digests.items()))


def _difference(path: Path, entry: FileEntry) -> str | None:
    if path.is_symlink():
        return "is a link, not the file that was written"
    if not path.is_file():
        return MISSING
    size = path.stat().st_size
    if size != entry.size:
        return f"has {size} bytes, the manifest says {entry.size}"
    try:
        return None if sha256_of(path) == entry.sha256 else "its bytes have changed (another SHA-256)"
    except OSError as error:
        return f"cannot be read ({error.strerror})"


def _sums_difference(release: Path, manifest: Manifest) -> str | None:
    path, due = release / SUMS_NAME, _sums(release, manifest).encode()
    if path.is_symlink():
        return "is a link, not the file that was written"
    try:
        written = read_plain_file(path, len(due))
    except FileNotFoundError:
        return MISSING
    except (OSError, ValueError) as error:
        return f"does not agree with the manifest ({error})"
    return None if written == due else "does not agree with the manifest"
