"""A `.mlpackage` directory, the same bytes every time.

Data/com.apple.CoreML/model.mlmodel is the Model message, weights/weight.bin beside it the payloads,
Manifest.json says so (Apple's fileFormatVersion 1.0.0). coremltools draws random identifiers for the
manifest and dates the model; both are fixed here. Not about what the program holds.
"""

from __future__ import annotations

import json
import uuid
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from exporter.lowering.coreml.blob_file import BlobWriter
from exporter.lowering.interface import MadeFrom

AUTHOR = "com.apple.CoreML"
DATA = Path("Data", AUTHOR)
MODEL = DATA / "model.mlmodel"
WEIGHTS = DATA / "weights" / "weight.bin"
# Under which swift-transformers looks for the name of the model.
EXPORTED_NAME = "co.huggingface.exporters.name"
# Facts: the id in the places of an image and of a sound, which drivers look for.
IMAGE_TOKEN, AUDIO_TOKEN = "image_token", "audio_token"
CONVERSION_DATE = "com.github.apple.coremltools.conversion_date"


def write_package(package: Path, model: Any, weights: BlobWriter, written: Callable[[int], None]) -> None:
    """Write the package at a path that does not exist yet. `written` as for `BlobWriter.write`."""
    (package / WEIGHTS).parent.mkdir(parents=True)
    weights.write(package / WEIGHTS, written)
    (package / MODEL).write_bytes(model.SerializeToString(deterministic=True))
    (package / "Manifest.json").write_text(_manifest(), encoding="utf-8")


def describe(model: Any, short: str, made_from: MadeFrom, facts: Mapping[str, str]) -> None:
    """Set the text Xcode shows, what apps look the model up by, and facts of ours beside coremltools' own;
    drop the date."""
    metadata = model.description.metadata
    metadata.shortDescription = short
    metadata.author = f"The authors of {made_from.name}; converted with gemma-export"
    metadata.license = f"{made_from.licence}; see the NOTICE of the release"
    metadata.versionString = made_from.version
    metadata.userDefined[EXPORTED_NAME] = made_from.name
    metadata.userDefined.pop(CONVERSION_DATE, None)
    for name, value in facts.items():
        metadata.userDefined[f"gemma-export.{name}"] = value


def _manifest() -> str:
    model = _identifier("model.mlmodel")
    entries = {
        model: _entry("CoreML Model Specification", "model.mlmodel", MODEL),
        _identifier("weights"): _entry("CoreML Model Weights", "weights", WEIGHTS.parent),
    }
    manifest = {
        "fileFormatVersion": "1.0.0",
        "itemInfoEntries": entries,
        "rootModelIdentifier": model,
    }
    return json.dumps(manifest, indent=4, sort_keys=True) + "\n"


def _identifier(name: str) -> str:
    """Identifiers only tell the entries of one manifest apart."""
    return str(uuid.uuid5(uuid.NAMESPACE_OID, f"gemma-export/{name}"))


def _entry(description: str, name: str, path: Path) -> dict[str, str]:
    return {
        "author": AUTHOR,
        "description": description,
        "name": name,
        "path": path.relative_to("Data").as_posix(),
    }
