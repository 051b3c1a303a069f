"""Reductions, and the normalisations made of them. Sums are fp32 whatever the declared width.

Semantics: coremltools' MIL operation reference, iOS 17.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np

from runtimes.mil.tensor_types import MEMORY_DTYPE, NAMED, Array, Floats


def _over(reduction: Callable[..., Any], x: Array, axes: Array | None, keep_dims: Array | None) -> Array:
    along = None if axes is None else tuple(axes.tolist())
    kept = keep_dims is not None and bool(keep_dims)
    return np.asarray(reduction(x, axis=along, keepdims=kept)).astype(x.dtype, copy=False)


def reduce_mean(x: Array, axes: Array | None = None, keep_dims: Array | None = None) -> Array:
    total = _over(np.add.reduce, x, axes, keep_dims)
    return np.asarray(total / (x.size // max(1, total.size))).astype(x.dtype, copy=False)


def reduce_sum(x: Array, axes: Array | None = None, keep_dims: Array | None = None) -> Array:
    return _over(np.add.reduce, x, axes, keep_dims)


def reduce_max(x: Array, axes: Array | None = None, keep_dims: Array | None = None) -> Array:
    return _over(np.maximum.reduce, x, axes, keep_dims)


def reduce_min(x: Array, axes: Array | None = None, keep_dims: Array | None = None) -> Array:
    return _over(np.minimum.reduce, x, axes, keep_dims)


def reduce_sum_square(x: Array, axes: Array | None = None, keep_dims: Array | None = None) -> Array:
    return _over(np.add.reduce, np.square(x), axes, keep_dims)


def reduce_l2_norm(x: Floats, axes: Array | None = None, keep_dims: Array | None = None) -> Array:
    return np.sqrt(_over(np.add.reduce, np.square(x), axes, keep_dims))


def reduce_argmax(
    x: Array,
    axis: Array | None = None,
    keep_dims: Array | None = None,
    output_dtype: str = "int32",
) -> Array:
    along = -1 if axis is None else int(axis)
    kept = keep_dims is not None and bool(keep_dims)
    found = np.argmax(x, axis=along, keepdims=kept)
    return np.asarray(found).astype(MEMORY_DTYPE[NAMED[output_dtype]])


def softmax(x: Floats, axis: Array | None = None) -> Array:
    along = -1 if axis is None else int(axis)
    weights: Floats = x - x.max(axis=along, keepdims=True)
    np.exp(weights, out=weights)
    weights /= weights.sum(axis=along, keepdims=True)
    return weights


def layer_norm(
    x: Floats,
    axes: Array,
    gamma: Floats | None = None,
    beta: Floats | None = None,
    epsilon: Floats | None = None,
) -> Array:
    """(x - mean) / sqrt(variance + epsilon) * gamma + beta, over `axes`.

    The reference lets `axes` be left out; coremltools cannot write that, so it is refused.
    """
    along = tuple(axis % x.ndim for axis in axes.tolist())
    small = np.float32(1e-5) if epsilon is None else epsilon
    count = math.prod(x.shape[axis] for axis in along)
    normal: Floats = x - np.add.reduce(x, axis=along, keepdims=True) / count
    variance = np.add.reduce(np.square(normal), axis=along, keepdims=True) / count
    normal *= 1 / np.sqrt(variance + small)
    shape = [size if i in along else 1 for i, size in enumerate(x.shape)]
    if gamma is not None:
        normal *= gamma.reshape(shape)
    if beta is not None:
        normal += beta.reshape(shape)
    return normal
