"""Writing a .tflite file: the flatbuffer, then weight bytes streamed behind it.

External buffers are (offset, size) in 64 bits from the file's start, so a file may exceed the 2 GiB a
flatbuffer can address. Peak memory is the flatbuffer (graph and per-row scales) and one piece.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, BinaryIO

import flatbuffers
import numpy as np

from exporter.errors import LoweringError
from exporter.lowering.litert.storage import ExternalData

IDENTIFIER = b"TFL3"

Written = Callable[[int, int], None]
"""Called with (bytes written, total)."""


def write_tflite(model: Any, external: Sequence[ExternalData], file: BinaryIO, written: Written) -> None:
    """Write the model and its external data from the file's position on.

    `model` gets the buffers' places, counted from there. Raises LoweringError where data falls short.
    """
    # Places are part of the flatbuffer and depend on its size; any non-zero place packs to that size.
    for data in external:
        model.buffers[data.buffer].offset = 1
        model.buffers[data.buffer].size = data.nbytes
    end = len(_pack(model))
    for data in external:
        place = -(-end // data.alignment) * data.alignment
        model.buffers[data.buffer].offset = place
        end = place + data.nbytes
    start = file.tell()
    file.truncate(start + end)
    file.write(_pack(model))
    for data in external:
        begin = file.seek(start + model.buffers[data.buffer].offset)
        for piece in data.pieces():
            file.write(np.ascontiguousarray(piece).data.cast("B"))
            written(file.tell() - start, end)
        if file.tell() - begin != data.nbytes:
            raise LoweringError(
                "LiteRT",
                f"{file.tell() - begin} bytes came of a weight of {data.nbytes}",
                "the quantised checkpoint is damaged, delete it and quantise again",
            )


def _pack(model: Any) -> bytes:
    builder = flatbuffers.Builder(1 << 20)
    builder.Finish(model.Pack(builder), IDENTIFIER)
    return bytes(builder.Output())
