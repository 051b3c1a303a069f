"""The record of a quantised checkpoint: from what, by what plan, and whether it is finished.

`quantizing.json` is written before the first matrix and renamed to `quantized.json` after the last,
so a directory always says which plan, source and methods its matrices are of. Not about the matrices
themselves (`writer`, `checkpoint`).
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, TypeVar

from exporter.checkpoints.interface import CheckpointSource
from exporter.errors import QuantizedCheckpointError
from exporter.models.audio.spec import AudioSpec
from exporter.models.vision.spec import VisionSpec
from exporter.quantization.methods.interface import Method
from exporter.quantization.methods.nearest import QUANTIZER_VERSION
from exporter.quantization.methods.taken_over import TakenOver
from exporter.quantization.store.origins import origins
from exporter.quantization.store.whole_files import PARTIAL, sync_directory, write_json
from exporter.schemes import Scheme
from runtimes.records import RecordError, from_plain, to_plain
from runtimes.strict_json import parse_json, read_json_object

RECORD_NAME = "quantized.json"
STARTED_NAME = "quantizing.json"
VISION, AUDIO = "vision", "audio"  # the keys of towers, where there are some
SCHEMA_VERSION = 3
# What a writer may have left in a directory; nothing else is ever deleted.
OWN_FILES = ("*.safetensors", f"*{PARTIAL}", "config.json", "model.safetensors.index.json")


def make_record(
    source: CheckpointSource, schemes: Mapping[str, Scheme], methods: Mapping[str, Method]
) -> dict[str, Any]:
    """What decides every byte of the checkpoint: source, plan, and the way codes are found.

    methods: of every matrix of an integer scheme.
    """
    taken_over = {name for name, method in methods.items() if isinstance(method, TakenOver)}
    vision, audio = source.components.vision, source.components.audio
    return {
        "schema_version": SCHEMA_VERSION,
        "architecture": dict(source.architecture),
        "schemes": {name: scheme.name for name, scheme in schemes.items()},
        "methods": {name: asdict(method.record) for name, method in methods.items()},
        "origins": {
            name: [origin.how, origin.dtype]
            for name, origin in origins(source, schemes, taken_over).items()
        },
        "source": dict(source.digests()),
        "embedding_columns": source.components["text"].spec.embedding_columns,
        **({} if vision is None else {VISION: to_plain(_Vision(vision.spec))}),
        **({} if audio is None else {AUDIO: to_plain(_Audio(audio.spec))}),
    }


@dataclass(frozen=True)
class _Vision:
    """How an image tower is recorded."""

    spec: VisionSpec


@dataclass(frozen=True)
class _Audio:
    """How an audio encoder is recorded."""

    spec: AudioSpec


def recorded_vision(record: Mapping[str, Any], where: object) -> VisionSpec | None:
    """The image tower of a record, None where the store has none. Raises QuantizedCheckpointError for one
    that no tower can be."""
    found = _recorded(_Vision, VISION, record, where)
    return None if found is None else found.spec


def recorded_audio(record: Mapping[str, Any], where: object) -> AudioSpec | None:
    """The same, of the audio encoder."""
    found = _recorded(_Audio, AUDIO, record, where)
    return None if found is None else found.spec


T = TypeVar("T")


def _recorded(of: type[T], key: str, record: Mapping[str, Any], where: object) -> T | None:
    if key not in record:
        return None
    try:
        return from_plain(of, record[key])
    except RecordError as error:
        raise QuantizedCheckpointError(where, f"{key}: {error}", "quantise again") from error


def identity_bytes(record: Mapping[str, Any]) -> bytes:
    """Bytes that differ where other numbers would be stored.

    In the words of schema 2, which named one version for all codes: an id that is made of them (a LiteRT-LM
    bundle's) stays what it was when the journal itself is written otherwise.
    """
    decided = ("architecture", "schemes", "origins", "source", "embedding_columns", VISION, AUDIO)
    found = {key: record[key] for key in decided if key in record}
    found |= {"schema_version": 2, "quantizer_version": QUANTIZER_VERSION}
    plain = ("nearest", "taken over")
    if others := {name: how for name, how in record["methods"].items() if how["name"] not in plain}:
        found["methods"] = others
    return json.dumps(found, sort_keys=True).encode()


def begin(directory: Path, record: Mapping[str, Any]) -> bool:
    """Make the directory ready for matrices of this record; True if it is finished already.

    Matrices of the same record stay. Those of another plan, source or method are deleted: the two are
    never mixed. Raises QuantizedCheckpointError for a directory with files but no record: it is not ours.
    """
    directory.mkdir(parents=True, exist_ok=True)
    found = next((name for name in (RECORD_NAME, STARTED_NAME) if (directory / name).exists()), None)
    if found is None:
        # A run killed before its record was in place leaves that file's partial at most.
        if any(entry.name != f"{STARTED_NAME}{PARTIAL}" for entry in directory.iterdir()):
            raise QuantizedCheckpointError(
                directory, "holds files that are not a quantised checkpoint", "choose an empty directory"
            )
    elif _read_json(directory / found) == parse_json(json.dumps(record)):
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


def _read_json(path: Path) -> dict[str, Any]:
    try:
        return read_json_object(path)
    except (OSError, ValueError) as error:
        raise QuantizedCheckpointError(
            path, f"cannot be read as JSON ({error})", "delete the directory and quantise again"
        ) from error
