"""Stored floating-point bytes to float32, and the refusal of values that are not numbers.

Not about GGUF's quantisation blocks (`gguf.source`) or about which tensors there are (`tensor_set`).
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from exporter.errors import CheckpointError

FLOAT_DTYPES = ("BF16", "F16", "F32")


def as_float32(raw: bytes, dtype: str, where: str) -> NDArray[np.float32]:
    """The numbers of little-endian `raw`, flat. dtype: safetensors' name of it. Exact for all three.

    Raises CheckpointError for another dtype.
    """
    match dtype:
        case "BF16":  # the upper half of a float32
            bits = np.frombuffer(raw, "<u2").astype(np.uint32)
            bits <<= np.uint32(16)
            return bits.view(np.float32)
        case "F16":
            return np.frombuffer(raw, "<f2").astype(np.float32)
        case "F32":
            return np.frombuffer(raw, "<f4")
        case _:
            raise CheckpointError(
                where,
                f"is stored as {dtype}, not as one of {', '.join(FLOAT_DTYPES)}",
                "give the checkpoint as it was published, before any quantisation",
            )


def require_finite(values: NDArray[np.float32], where: object, name: str, start: int) -> None:
    """Raise CheckpointError for the first NaN or infinity among rows `start` onwards of tensor `name`."""
    # A sum is finite when all terms are, and one pass cheaper than looking at each.
    if np.isfinite(values.sum(dtype=np.float64)):
        return
    bad = np.argwhere(~np.isfinite(values))[0]
    position = [start + int(bad[0]), *(int(index) for index in bad[1:])]
    raise CheckpointError(
        where,
        f"tensor {name} holds {values[tuple(bad)]} at {position}",
        "the checkpoint is damaged or training diverged; fetch it again",
    )
