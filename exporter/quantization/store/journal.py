"""The record of a quantised checkpoint: from what, by what plan, and whether it is finished.

`quantizing.json` is written before the first matrix and renamed to `quantized.json` after the last,
so a directory always says which plan and source its matrices are of. Not about the matrices
themselves (`writer`, `checkpoint`).
"""

from __future__ import annotations

import json
import os
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any

from exporter.checkpoints.interface import CheckpointSource
from exporter.errors import QuantizedCheckpointError
from exporter.quantization.methods.nearest import QUANTIZER_VERSION
from exporter.quantization.store.origins import origins
from exporter.schemes import Scheme

RECORD_NAME = "quantized.json"
STARTED_NAME = "quantizing.json"
SCHEMA_VERSION = 2
# What a writer may have left in a directory; nothing else is ever deleted.
OWN_FILES = ("*.safetensors", "*.partial", "config.json", "model.safetensors.index.json")


def make_record(
    source: CheckpointSource, schemes: Mapping[str, Scheme], taken_over: Collection[str]
) -> dict[str, Any]:
    """What decides every byte of the checkpoint: source, plan, and the way codes are found."""
    return {
        "schema_version": SCHEMA_VERSION,
        "quantizer_version": QUANTIZER_VERSION,
        "architecture": dict(source.architecture),
        "schemes": {name: scheme.name for name, scheme in schemes.items()},
        "origins": {
            name: [origin.how, origin.dtype]
            for name, origin in origins(source, schemes, taken_over).items()
        },
        "source": dict(source.digests()),
        "embedding_columns": source.spec.embedding_columns,
    }


def begin(directory: Path, record: Mapping[str, Any]) -> bool:
    """Make the directory ready for matrices of this record; True if it is finished already.

    Matrices of the same record stay. Those of another plan or source are deleted: the two are never
    mixed. Raises QuantizedCheckpointError for a directory with files but no record: it is not ours.
    """
    directory.mkdir(parents=True, exist_ok=True)
    found = next((name for name in (RECORD_NAME, STARTED_NAME) if (directory / name).exists()), None)
    if found is None:
        # A run killed before its record was in place leaves that file's partial at most.
        if any(entry.name != f"{STARTED_NAME}.partial" for entry in directory.iterdir()):
            raise QuantizedCheckpointError(
                directory, "holds files that are not a quantised checkpoint", "choose an empty directory"
            )
    elif _read_json(directory / found) == json.loads(json.dumps(record)):
        return found == RECORD_NAME
    else:
        (directory / found).unlink()  # first: without it, nothing here counts
        for pattern in OWN_FILES:
            for path in directory.glob(pattern):
                path.unlink()
    write_json(directory / STARTED_NAME, record)
    return False


def finish(directory: Path) -> None:
    """Declare the directory finished."""
    (directory / STARTED_NAME).replace(directory / RECORD_NAME)
    sync_directory(directory)


def read_record(directory: Path) -> dict[str, Any]:
    """The record of a finished checkpoint.

    Raises QuantizedCheckpointError when it is unfinished, damaged, or of another schema version.
    """
    path = directory / RECORD_NAME
    if not path.exists():
        what = "the checkpoint is not finished" if (directory / STARTED_NAME).exists() else "no such file"
        raise QuantizedCheckpointError(path, what, "quantise again; what is there is kept")
    record = _read_json(path)
    if record.get("schema_version") != SCHEMA_VERSION:
        raise QuantizedCheckpointError(
            path, "is of another schema version", "delete the directory and quantise again"
        )
    for key in ("architecture", "schemes", "origins", "source"):
        if not isinstance(record.get(key), dict):
            raise QuantizedCheckpointError(path, f"key {key!r} is missing or no object", "quantise again")
    if not isinstance(record.get("embedding_columns"), bool):
        raise QuantizedCheckpointError(path, "key 'embedding_columns' is missing", "quantise again")
    return record


def write_json(path: Path, value: Mapping[str, Any]) -> None:
    """Write a JSON file whole or not at all. The same value gives the same bytes."""
    partial = path.with_name(path.name + ".partial")
    with partial.open("w", encoding="utf-8") as file:
        json.dump(value, file, indent=1, sort_keys=True)
        file.flush()
        os.fsync(file.fileno())
    partial.replace(path)
    sync_directory(path.parent)


def sync_directory(directory: Path) -> None:
    """Make renames in a directory last, where the system can."""
    if os.name != "posix":
        return  # Windows cannot open a directory
    descriptor = os.open(directory, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _read_json(path: Path) -> dict[str, Any]:
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise QuantizedCheckpointError(
            path, f"cannot be read as JSON ({error})", "delete the directory and quantise again"
        ) from error
    if not isinstance(found, dict):
        raise QuantizedCheckpointError(
            path, "is not a JSON object", "delete the directory and quantise again"
        )
    return found
