"""Writing the quantised checkpoint, one matrix file after the other.

Every file is written under a temporary name, synced and renamed: a file that is there is finished,
so a killed run goes on where it stopped. Peak memory is a few row chunks of the largest matrix.
Not about finding codes (`quantizers`) or deciding schemes (`exporter.planning`).
"""

from __future__ import annotations

import json
import math
import os
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from exporter.checkpoints.interface import CheckpointSource
from exporter.checkpoints.safetensors_file import ITEM_BYTES
from exporter.errors import CheckpointError
from exporter.planning.scheme import FloatScheme, IntegerScheme, Scheme
from exporter.quantization.checkpoint import (
    RECORD_NAME,
    SCHEMA_VERSION,
    VECTORS_NAME,
    QuantizedCheckpoint,
    open_quantized,
)
from exporter.quantization.quantizers import quantize_rows

CHUNK_BYTES = 32 << 20  # of float32 rows quantised at once

Progress = Callable[[str, int, int], None]


def write_quantized(
    source: CheckpointSource,
    schemes: Mapping[str, Scheme],
    directory: Path,
    progress: Progress,
) -> QuantizedCheckpoint:
    """Quantise `source` into `directory`; matrices already there are kept.

    schemes: one for every matrix of `source.spec`. Raises CheckpointError for weights that are not
    finite or cannot be read.
    """
    directory.mkdir(parents=True, exist_ok=True)
    weights = source.spec.weights()
    total = sum(math.prod(weight.shape) for weight in weights if weight.is_matrix)
    done = 0
    for weight in weights:
        if not weight.is_matrix:
            continue
        path = directory / f"{weight.name}.safetensors"
        if not path.exists():
            _write_matrix(source, weight.name, schemes[weight.name], path)
        done += math.prod(weight.shape)
        progress("quantise", done, total)
    _write_vectors(source, directory / VECTORS_NAME)
    _write_index(source, schemes, directory)
    return open_quantized(directory)


def write_safetensors(
    path: Path,
    headers: Mapping[str, tuple[str, tuple[int, ...]]],
    pieces: Iterator[tuple[str, int, NDArray[Any]]],
) -> None:
    """Write one safetensors file from pieces in any order.

    headers: name to (dtype, shape). pieces: (name, byte offset in that tensor, data).
    """
    layout: dict[str, dict[str, Any]] = {}
    begin = 0
    for name, (dtype, shape) in headers.items():
        end = begin + math.prod(shape) * ITEM_BYTES[dtype]
        layout[name] = {"dtype": dtype, "shape": list(shape), "data_offsets": [begin, end]}
        begin = end
    text = json.dumps(layout, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)  # data starts 8-byte aligned
    start = 8 + len(text)
    partial = path.with_name(path.name + ".partial")
    with partial.open("wb") as file:
        file.truncate(start + begin)
        file.write(len(text).to_bytes(8, "little") + text)
        for name, offset, data in pieces:
            file.seek(start + layout[name]["data_offsets"][0] + offset)
            file.write(np.ascontiguousarray(data).data.cast("B"))
        file.flush()
        os.fsync(file.fileno())
    partial.replace(path)


def _write_matrix(source: CheckpointSource, name: str, scheme: Scheme, path: Path) -> None:
    rows, inputs = source.tensors[name].shape
    match scheme:
        case IntegerScheme():
            headers: dict[str, tuple[str, tuple[int, ...]]] = {
                f"{name}_packed": ("I32", (rows, inputs * scheme.bits // 32)),
                f"{name}_scale": ("F16", (rows, scheme.groups(inputs))),
                f"{name}_shape": ("I64", (2,)),
            }
        case FloatScheme():
            headers = {name: (f"F{scheme.bits}", (rows, inputs))}
    write_safetensors(path, headers, _matrix_pieces(source, name, scheme))


def _matrix_pieces(
    source: CheckpointSource, name: str, scheme: Scheme
) -> Iterator[tuple[str, int, NDArray[Any]]]:
    rows, inputs = source.tensors[name].shape
    step = max(1, CHUNK_BYTES // (inputs * 4))
    for start in range(0, rows, step):
        values = source.rows(name, start, min(rows, start + step))
        match scheme:
            case IntegerScheme():
                packed, scales = quantize_rows(values, scheme)
                yield f"{name}_packed", start * packed.shape[1], packed
                yield f"{name}_scale", start * scales.shape[1] * 2, scales
            case FloatScheme(bits=16):
                half = values.astype(np.float16)
                if not np.isfinite(half).all():
                    raise CheckpointError(
                        name, "a weight is beyond fp16's 65504", "choose fp32 for it in the recipe"
                    )
                yield name, start * inputs * 2, half
            case FloatScheme():
                yield name, start * inputs * 4, values
    if isinstance(scheme, IntegerScheme):
        yield f"{name}_shape", 0, np.array([rows, inputs], np.int64)


def _write_vectors(source: CheckpointSource, path: Path) -> None:
    vectors = {weight.name: weight for weight in source.spec.weights() if not weight.is_matrix}
    write_safetensors(
        path,
        {name: ("F32", weight.shape) for name, weight in vectors.items()},
        ((name, 0, source.rows(name, 0, weight.shape[0])) for name, weight in vectors.items()),
    )


def _write_index(source: CheckpointSource, schemes: Mapping[str, Scheme], directory: Path) -> None:
    names = {name: scheme.name for name, scheme in schemes.items()}
    record = {
        "schema_version": SCHEMA_VERSION,
        "architecture": dict(source.architecture),
        "schemes": names,
        "source": dict(source.digests()),
    }
    partial = directory / (RECORD_NAME + ".partial")
    partial.write_text(json.dumps(record, indent=1, sort_keys=True), encoding="utf-8")
    partial.replace(directory / RECORD_NAME)
