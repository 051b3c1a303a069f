"""Operations that read or write a part of a tensor.

Semantics: coremltools' MIL operation reference, iOS 17 and 18.
"""

from __future__ import annotations

from typing import TypedDict, Unpack

import numpy as np

from runtimes.mil.tensor_types import Array
from runtimes.mil.weight_memory import Weight


class _Corners(TypedDict):
    begin: Array
    end: Array


class SliceBounds(_Corners, total=False):
    """Which part of a tensor, an entry per axis. A masked bound is open; a squeezed axis is read at its
    begin."""

    stride: Array
    begin_mask: Array
    end_mask: Array
    squeeze_mask: Array


def slice_by_index(x: Array, **bounds: Unpack[SliceBounds]) -> Array:
    return np.asarray(x[_index(x, bounds)])


def slice_update(x: Array, update: Array, **bounds: Unpack[SliceBounds]) -> Array:
    """x with the slice replaced. Writes into x: the caller hands over a copy, or a state it may
    overwrite (`overwrites` in the table)."""
    index = _index(x, bounds)
    wanted = x[index].shape
    if update.shape != wanted:
        raise ValueError(f"an update of shape {update.shape} for a slice of {wanted}")
    x[index] = update
    return x


def gather(
    x: Array | Weight,
    indices: Array,
    axis: Array | None = None,
    batch_dims: Array | None = None,
    validate_indices: Array | None = None,
) -> Array:
    """Slices of x along an axis; negative indices count from the end.

    Always validates: MIL leaves an index out of range undefined. Of a weight, only the rows asked
    for are decoded.
    """
    if batch_dims is not None and batch_dims:
        raise ValueError("gather with batch_dims is not supported")
    along = 0 if axis is None else int(axis)
    size = x.shape[along]
    wrapped = indices.astype(np.int64)
    wrapped[wrapped < 0] += size
    if wrapped.size and not 0 <= wrapped.min() <= wrapped.max() < size:
        raise ValueError(f"index out of range for {size} rows")
    if isinstance(x, Weight):
        if along != 0:
            return np.take(x.dense(), wrapped, axis=along)
        return x.take(wrapped.reshape(-1)).reshape(*indices.shape, *x.shape[1:])
    return np.take(x, wrapped, axis=along)


def _index(x: Array, bounds: SliceBounds) -> tuple[slice | int, ...]:
    """One numpy index per axis."""
    rank = x.ndim
    begins, ends = bounds["begin"].tolist(), bounds["end"].tolist()
    strides = bounds["stride"].tolist() if "stride" in bounds else [1] * rank
    given = (bounds.get("begin_mask"), bounds.get("end_mask"), bounds.get("squeeze_mask"))
    masks = [[False] * rank if mask is None else mask.tolist() for mask in given]
    if any(len(part) != rank for part in (begins, ends, strides, *masks)):
        raise ValueError(f"slice bounds of another rank than {rank}")
    open_begin, open_end, squeezed = masks
    index: list[slice | int] = []
    for i in range(rank):
        first = None if open_begin[i] else begins[i]
        if squeezed[i]:
            index.append(0 if first is None else first)
        else:
            index.append(slice(first, None if open_end[i] else ends[i], strides[i]))
    return tuple(index)
