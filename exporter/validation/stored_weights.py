"""Counting the numbers in which an artifact's weights differ from the quantised checkpoint's.

Exact: codes, scales, zero points and float values are compared, nothing is recomputed. Not about how they
are stored; each lowering reads its own files back.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from exporter.lowering.interface import StoredRows
from exporter.quantization.store.checkpoint import IntegerMatrix, Matrix, QuantizedCheckpoint
from runtimes.manifest import ComponentName


def differing_numbers(stored: Iterable[StoredRows], checkpoint: QuantizedCheckpoint) -> int:
    """Codes, scales, zero points and values that are not the checkpoint's; 0 for a faithful artifact."""
    return differing_by_matrix(stored, checkpoint).total()


def differing_by_matrix(
    stored: Iterable[StoredRows], checkpoint: QuantizedCheckpoint, component: ComponentName = "text"
) -> Counter[str]:
    """How many numbers differ in each matrix of a component that is not wholly the checkpoint's.

    A row that is absent, or of a matrix the checkpoint does not have, counts with all its entries; those of
    other components are passed over.
    """
    matrices: Mapping[str, Matrix] = checkpoint.components[component].matrices
    seen = {name: np.zeros(matrix.shape[0], np.bool_) for name, matrix in matrices.items()}
    differing = Counter[str]()
    for rows in stored:
        matrix = matrices.get(rows.weight)
        if matrix is None:
            # Norms may come too: they are not matrices, and lowerings fold them in their own ways.
            known = rows.weight in checkpoint.vectors or rows.weight in checkpoint.matrices
            differing[rows.weight] += 0 if known else _entries(rows)
            continue
        differing[rows.weight] += _differences(rows, matrix)
        seen[rows.weight][rows.start : rows.start + _count(rows)] = True
    for name, matrix in matrices.items():
        differing[name] += int((~seen[name]).sum()) * matrix.shape[1]
    return +differing


def _differences(rows: StoredRows, matrix: Matrix) -> int:
    stop = rows.start + _count(rows)
    if stop > matrix.shape[0]:
        return _entries(rows)
    if isinstance(matrix, IntegerMatrix):
        if rows.codes is None or rows.scales is None:
            return _entries(rows)
        scales = matrix.scales(rows.start, stop).astype(np.float32)
        zero_points = matrix.zero_points(rows.start, stop)
        if (rows.zero_points is None) != (zero_points is None):
            return _entries(rows)
        differing = _unequal(rows.codes, matrix.codes(rows.start, stop)) + _unequal(rows.scales, scales)
        if rows.zero_points is not None and zero_points is not None:
            differing += _unequal(rows.zero_points, zero_points)
        return differing
    if rows.values is None:
        return _entries(rows)
    return _unequal(rows.values, matrix.values(rows.start, stop))


def _unequal(found: NDArray[Any], expected: NDArray[Any]) -> int:
    return int((found != expected).sum()) if found.shape == expected.shape else expected.size


def _count(rows: StoredRows) -> int:
    filled = rows.values if rows.codes is None else rows.codes
    return 0 if filled is None else len(filled)


def _entries(rows: StoredRows) -> int:
    filled = rows.values if rows.codes is None else rows.codes
    return 0 if filled is None else filled.size
