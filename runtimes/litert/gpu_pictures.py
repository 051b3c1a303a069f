"""Prepared pictures, and rows made of them, in files between this process and that of the GPU.

Not about towers (`gpu_images`).
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from runtimes.encoder import EncodedRows
from runtimes.images.prepared import PreparedImage

PICTURES, ROWS = "pictures.npz", "rows.npz"
PIXELS, POSITIONS, COUNT = "pixels", "positions", "soft_tokens"


def write_pictures(scratch: Path, pictures: Sequence[PreparedImage]) -> None:
    arrays: dict[str, NDArray[Any]] = {}
    for number, picture in enumerate(pictures):
        arrays[f"{number}.{PIXELS}"] = picture.pixels
        arrays[f"{number}.{COUNT}"] = np.array(picture.soft_tokens)
        if picture.positions is not None:
            arrays[f"{number}.{POSITIONS}"] = picture.positions
    np.savez(scratch / PICTURES, allow_pickle=False, **arrays)


def read_pictures(scratch: Path) -> tuple[PreparedImage, ...]:
    with np.load(scratch / PICTURES) as arrays:
        count = sum(name.endswith(COUNT) for name in arrays)
        return tuple(
            PreparedImage(
                arrays[f"{number}.{PIXELS}"],
                arrays.get(f"{number}.{POSITIONS}"),
                int(arrays[f"{number}.{COUNT}"]),
            )
            for number in range(count)
        )


def write_rows(scratch: Path, rows: Sequence[EncodedRows]) -> None:
    np.savez(scratch / ROWS, allow_pickle=False, **{str(number): each for number, each in enumerate(rows)})


def read_rows(scratch: Path) -> tuple[EncodedRows, ...]:
    """Of each picture."""
    with np.load(scratch / ROWS) as arrays:
        return tuple(arrays[str(number)] for number in range(len(arrays)))
