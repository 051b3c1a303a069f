"""Operations that make shapes or move elements without changing them.

Semantics: coremltools' MIL operation reference, iOS 17 and 18. Results may be views of their input
where the table says `may_alias`; the others copy.
"""

from __future__ import annotations

from itertools import accumulate

import numpy as np

from runtimes.mil.tensor_types import Array


def identity(x: Array) -> Array:
    return x


def shape(x: Array) -> Array:
    return np.array(x.shape, np.int32)


def reshape(x: Array, shape: Array) -> Array:
    """A 0 takes x's dimension counted from the last; one -1 takes what is left."""
    wanted: list[int] = shape.tolist()
    for back in range(1, len(wanted) + 1):
        if wanted[-back] == 0:
            wanted[-back] = x.shape[-back] if back <= x.ndim else 1
    return x.reshape(wanted)


def transpose(x: Array, perm: Array) -> Array:
    return x.transpose(perm.tolist())


def expand_dims(x: Array, axes: Array) -> Array:
    return np.expand_dims(x, tuple(axes.tolist()))


def squeeze(x: Array, axes: Array | None = None) -> Array:
    return np.squeeze(x, None if axes is None else tuple(axes.tolist()))


def tile(x: Array, reps: Array) -> Array:
    if reps.size != x.ndim or (reps <= 0).any():
        raise ValueError(f"reps {reps.tolist()} for rank {x.ndim}")
    times: list[int] = reps.tolist()
    if all(n == 1 or size == 1 for n, size in zip(times, x.shape, strict=True)):
        # one key head repeated for every query head: a view spares a copy of the cache per layer
        return np.broadcast_to(x, [n * size for n, size in zip(times, x.shape, strict=True)])
    return np.tile(x, times)


def concat(values: tuple[Array, ...], axis: Array, interleave: Array | None = None) -> Array:
    if interleave is not None and interleave:
        raise ValueError("interleaved concat is not supported")
    if values[0].ndim == 0:
        return np.stack(values)
    return np.concatenate(values, axis=int(axis))


def stack(values: tuple[Array, ...], axis: Array) -> Array:
    return np.stack(values, axis=int(axis))


def split(
    x: Array, axis: Array, num_splits: Array | None = None, split_sizes: Array | None = None
) -> tuple[Array, ...]:
    length = x.shape[int(axis)]
    if split_sizes is not None:
        sizes: list[int] = split_sizes.tolist()
    elif num_splits is not None and length % int(num_splits) == 0:
        sizes = [length // int(num_splits)] * int(num_splits)
    else:
        raise ValueError(f"split of {length} without sizes, or into parts that are not equal")
    if sum(sizes) != length or (num_splits is not None and len(sizes) != num_splits):
        raise ValueError(f"split of {length} into {sizes}")
    return tuple(np.split(x, list(accumulate(sizes))[:-1], axis=int(axis)))


def pad(x: Array, pad: Array, mode: str = "constant", constant_val: Array | None = None) -> Array:
    """pad: before and behind, for each of the last axes."""
    if mode != "constant" or pad.size % 2 or pad.size > 2 * x.ndim or (pad < 0).any():
        raise ValueError(f"pad {pad.tolist()} of rank {x.ndim} in mode {mode!r} is not supported")
    around = [(0, 0)] * (x.ndim - pad.size // 2) + pad.reshape(-1, 2).tolist()
    return np.pad(x, around, constant_values=0 if constant_val is None else constant_val)


def fill(shape: Array, value: Array) -> Array:
    return np.full(shape.tolist(), value, value.dtype)


def range_1d(start: Array, end: Array, step: Array) -> Array:
    return np.arange(start, end, step).astype(start.dtype, copy=False)


def band_part(x: Array, lower: Array | None = None, upper: Array | None = None) -> Array:
    """Keep `lower` diagonals below and `upper` above the main one; a negative count keeps all."""
    below = -1 if lower is None else int(lower)
    above = -1 if upper is None else int(upper)
    distance = np.arange(x.shape[-2])[:, None] - np.arange(x.shape[-1])[None, :]
    keep = ((below < 0) | (distance <= below)) & ((above < 0) | (-distance <= above))
    return np.where(keep, x, np.zeros((), x.dtype))
