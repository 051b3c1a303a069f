"""Reductions, and the normalisations made of them. Sums are fp32 whatever the declared width.

Semantics: coremltools' MIL operation reference, iOS 17.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from runtimes.mil.tensor_types import MEMORY_DTYPE, NAMED, Array, Floats


def _over(reduction: Callable[..., Any], x: Array, axes: Array | None, keep_dims: Array | None) -> Array:
    along = None if axes is None else tuple(axes.tolist())
    kept = keep_dims is not None and bool(keep_dims)
    return np.asarray(reduction(x, axis=along, keepdims=kept)).astype(x.dtype, copy=False)


def reduce_mean(x: Array, axes: Array | None = None, keep_dims: Array | None = None) -> Array:
    return _over(np.mean, x, axes, keep_dims)


def reduce_sum(x: Array, axes: Array | None = None, keep_dims: Array | None = None) -> Array:
    return _over(np.sum, x, axes, keep_dims)


def reduce_max(x: Array, axes: Array | None = None, keep_dims: Array | None = None) -> Array:
    return _over(np.max, x, axes, keep_dims)


def reduce_min(x: Array, axes: Array | None = None, keep_dims: Array | None = None) -> Array:
    return _over(np.min, x, axes, keep_dims)


def reduce_sum_square(x: Array, axes: Array | None = None, keep_dims: Array | None = None) -> Array:
    return _over(np.sum, np.square(x), axes, keep_dims)


def reduce_l2_norm(x: Floats, axes: Array | None = None, keep_dims: Array | None = None) -> Array:
    return np.sqrt(_over(np.sum, np.square(x), axes, keep_dims))


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
    normal: Floats = x - x.mean(axis=along, keepdims=True)
    variance = np.square(normal).mean(axis=along, keepdims=True)
    normal *= 1 / np.sqrt(variance + small)
    shape = [size if i in along else 1 for i, size in enumerate(x.shape)]
    if gamma is not None:
        normal *= gamma.reshape(shape)
    if beta is not None:
        normal += beta.reshape(shape)
    return normal
