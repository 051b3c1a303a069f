"""A `.mlpackage`: where its model file is, and the model parsed.

Not about running it. The manifest is Apple's (fileFormatVersion 1.0.0), not the release's.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

from runtimes.errors import ArtifactError
from runtimes.mil.model_file import ModelMessage, read_model

# iOS 18, macOS 15: the first version with states, and the only one the exporter writes.
SPECIFICATION_VERSION = 9


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
    manifest = path / "Manifest.json"
    try:
        raw = json.loads(manifest.read_text(encoding="utf-8"))
        relative = Path(raw["itemInfoEntries"][raw["rootModelIdentifier"]]["path"])
    except FileNotFoundError as error:
        raise ArtifactError(f"{manifest}: no such file; is {path.name} a .mlpackage?") from error
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise ArtifactError(
            f"{manifest}: does not say where the model file is ({error!r}); export again"
        ) from error
    if relative.is_absolute() or ".." in relative.parts:
        raise ArtifactError(f"{manifest}: {relative} leaves the package; do not trust this release")
    model_file = path / "Data" / relative
    try:
        model = read_model(memoryview(model_file.read_bytes()))
    except OSError as error:
        raise ArtifactError(f"{model_file}: cannot be read ({error}); export again") from error
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
