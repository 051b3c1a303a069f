"""Writing one safetensors file from pieces, none of which need be in memory together.

Not about what is in it, or about reading (`exporter.checkpoints.files.safetensors_file`).
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from exporter.checkpoints.files.safetensors_file import ITEM_BYTES
from exporter.quantization.store.whole_files import whole_file

Piece = tuple[str, int, NDArray[Any]]  # tensor, byte offset in it, data


def write_safetensors(
    path: Path,
    headers: Mapping[str, tuple[str, tuple[int, ...]]],
    pieces: Iterator[Piece],
) -> None:
    """Write the file, whole or not at all, from pieces in any order. headers: name to (dtype, shape)."""
    layout: dict[str, dict[str, Any]] = {}
    begin_at = 0
    for name, (dtype, shape) in headers.items():
        end = begin_at + math.prod(shape) * ITEM_BYTES[dtype]
        layout[name] = {"dtype": dtype, "shape": list(shape), "data_offsets": [begin_at, end]}
        begin_at = end
    text = json.dumps(layout, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)  # data starts 8-byte aligned
    start = 8 + len(text)
    with whole_file(path) as file:
        file.write(len(text).to_bytes(8, "little") + text)
        file.truncate(start + begin_at)
        for name, offset, data in pieces:
            file.seek(start + layout[name]["data_offsets"][0] + offset)
            file.write(np.ascontiguousarray(data).data.cast("B"))
