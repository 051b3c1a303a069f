"""A `.mlpackage`: where its model file is, and the model parsed.

Not about running it. The manifest is Apple's (fileFormatVersion 1.0.0), not the release's.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from runtimes.errors import ArtifactError
from runtimes.excerpt import excerpt
from runtimes.inside import is_inside, is_plain_path
from runtimes.mil.model_file import ModelMessage, read_model
from runtimes.strict_json import StrictJsonError, read_json_object, read_plain_file

# iOS 18, macOS 15: the first version with states, and the only one the exporter writes.
SPECIFICATION_VERSION = 9
LARGEST_MANIFEST = 1 << 20  # bytes
LARGEST_MODEL = 64 << 20  # bytes; weights lie beside it, and a program of 60 layers has some 3 MB


@dataclass(frozen=True)
class Package:
    """path: the package. directory: where "@model_path" in weight references points."""

    path: Path
    directory: Path
    model: ModelMessage


def read_package(path: Path) -> Package:
    """Find and parse the model of a package.

    Raises ArtifactError naming the file and what it lacks.
    """
    model_file = path / "Data" / _model_path(path)
    try:
        model = read_model(memoryview(read_plain_file(model_file, LARGEST_MODEL)))
    except OSError as error:
        raise ArtifactError(f"{model_file}: cannot be read ({error.strerror}); export again") from error
    except ValueError as error:
        raise ArtifactError(
            f"{model_file}: {error}; the file is damaged or newer than this reader"
        ) from error
    if model.specification_version != SPECIFICATION_VERSION:
        raise ArtifactError(
            f"{model_file}: specification version {model.specification_version}, this evaluator "
            f"runs {SPECIFICATION_VERSION} (iOS 18); export again"
        )
    return Package(path, model_file.parent, model)


def _model_path(package: Path) -> str:
    """Where below `Data` the package's manifest says the model is. Raises ArtifactError."""
    manifest = package / "Manifest.json"
    try:
        raw = read_json_object(manifest, LARGEST_MANIFEST)
    except FileNotFoundError as error:
        raise ArtifactError(f"{manifest}: no such file; is {package.name} a .mlpackage?") from error
    except OSError as error:
        raise ArtifactError(f"{manifest}: cannot be read ({error.strerror}); export again") from error
    except StrictJsonError as error:
        raise ArtifactError(f"{manifest}: cannot be read as JSON ({error}); export again") from error
    match raw:
        case {"itemInfoEntries": dict(items), "rootModelIdentifier": str(root)}:
            entry = items.get(root)
        case _:
            entry = None
    if not isinstance(entry, dict) or not isinstance(place := entry.get("path"), str):
        raise ArtifactError(f"{manifest}: does not say where the model file is; export again")
    if not is_plain_path(place) or not is_inside(package, package / "Data" / place):
        raise ArtifactError(f"{manifest}: {excerpt(place)} leaves the package; do not trust this release")
    return place
