"""`constexpr_blockwise_shift_scale`: a weight as integer codes, scales and offsets per block.

    value[i, j, …] = scale[i // b0, j // b1, …] * (code[i, j, …] - offset[i // b0, j // b1, …])

with b = shape(code) / shape(scale), which covers per-tensor, per-channel and block-wise scales
(iOS 18 operation set, coremltools' MIL reference). Palettes, sparsity and the older affine operation
are not here: the exporter writes none of them, and `program` refuses them by name.
"""

from __future__ import annotations

import numpy as np

from runtimes.errors import ArtifactError
from runtimes.mil.payloads import Elements
from runtimes.mil.tensor_types import FLOATING, Array, Floats


class BlockwiseDecoder:
    """Decodes runs of rows of one such weight.

    Raises ArtifactError at construction where the shapes do not divide, naming the weight.
    """

    def __init__(self, codes: Elements, scales: Elements, offsets: Elements | None) -> None:
        if scales.type.dtype not in FLOATING:
            raise ArtifactError(f"{scales.source}: scales declared {scales.type}, not floats")
        for part in (scales, offsets):
            if part is not None and (
                len(part.shape) != len(codes.shape)
                or any(b == 0 or a % b for a, b in zip(codes.shape, part.shape, strict=True))
            ):
                raise ArtifactError(
                    f"{part.source}: {part.type} does not divide codes of {codes.type} into blocks"
                )
        if offsets is not None and offsets.shape != scales.shape:
            raise ArtifactError(f"{offsets.source}: {offsets.type} beside scales of {scales.type}")
        self._codes, self._scales, self._offsets = codes, scales, offsets
        self._rows_per_scale = codes.shape[0] // scales.shape[0]
        # [rows, j, …] seen as [rows, blocks of j, block of j, …], and a scale row as [rows, blocks, 1, …]
        self._blocked = tuple(
            size
            for length, count in zip(codes.shape[1:], scales.shape[1:], strict=True)
            for size in (count, length // count)
        )
        self._spread = tuple(size for count in scales.shape[1:] for size in (count, 1))

    @property
    def shape(self) -> tuple[int, ...]:
        return self._codes.shape

    def decode(self, start: int, stop: int, out: Floats) -> None:
        self._codes.write_rows(start, stop, out)
        first, last = start // self._rows_per_scale, -(-stop // self._rows_per_scale)
        here = np.arange(start, stop) // self._rows_per_scale - first
        self._shift_and_scale(
            out,
            self._scales.rows(first, last)[here],
            None if self._offsets is None else self._offsets.rows(first, last)[here],
        )

    def take(self, rows: Array) -> Floats:
        out = self._codes.take(rows).astype(np.float32)
        blocks = rows // np.asarray(self._rows_per_scale, rows.dtype)
        self._shift_and_scale(
            out,
            self._scales.take(blocks),
            None if self._offsets is None else self._offsets.take(blocks),
        )
        return out

    def _shift_and_scale(self, out: Floats, scales: Array, offsets: Array | None) -> None:
        blocked = out.reshape(len(out), *self._blocked)
        spread = (len(out), *self._spread)
        if offsets is not None:
            blocked -= offsets.astype(np.float32).reshape(spread)
        blocked *= scales.astype(np.float32).reshape(spread)
