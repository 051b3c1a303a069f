"""The external data file: where every stored tensor's bytes lie, written row chunk by row chunk.

Each tensor starts at a page boundary, so that a runtime can map it. Tensors of equal content share
one range. Not about what the bytes are (`stored_tensors`).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from exporter.errors import LoweringError
from exporter.lowering.onnx.stored_tensors import Content, DataTensor, pieces
from exporter.progress import Progress
from exporter.quantization.store.checkpoint import QuantizedCheckpoint

ALIGNMENT = 4096


@dataclass(frozen=True)
class ByteRange:
    """Bytes of the data file."""

    offset: int
    length: int


def lay_out(tensors: Iterable[DataTensor]) -> dict[Content, ByteRange]:
    """A byte range for every distinct content, in order of first use."""
    ranges: dict[Content, ByteRange] = {}
    end = 0
    for tensor in tensors:
        if tensor.content not in ranges:
            start = -(-end // ALIGNMENT) * ALIGNMENT
            ranges[tensor.content] = ByteRange(start, tensor.nbytes)
            end = start + tensor.nbytes
    return ranges


def write_external_data(
    path: Path, ranges: Mapping[Content, ByteRange], checkpoint: QuantizedCheckpoint, progress: Progress
) -> None:
    """Write every content at its range; gaps are zeros. Raises LoweringError on a size mismatch."""
    total = max(place.offset + place.length for place in ranges.values())
    with path.open("wb") as file:
        file.truncate(total)
        for content, place in ranges.items():
            file.seek(place.offset)
            for piece in pieces(content, checkpoint):
                file.write(np.ascontiguousarray(piece).data.cast("B"))
                progress(f"write {path.name}", file.tell(), total)
            if file.tell() != place.offset + place.length:
                raise LoweringError(
                    path,
                    f"{content} has {file.tell() - place.offset} bytes, the graph expects {place.length}",
                    "this is a defect of gemma-export, report it",
                )
