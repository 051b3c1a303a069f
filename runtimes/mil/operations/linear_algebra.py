"""Products: linear layers, matrix products, attention. Sums are fp32 whatever the declared width.

Semantics: coremltools' MIL operation reference, iOS 17 and 18. Products go to numpy's BLAS, which
wants one of a matrix's two strides to be that of an element.
"""

from __future__ import annotations

import math

import numpy as np

from runtimes.mil.tensor_types import Array, Floats
from runtimes.mil.weight_memory import Weight

FEW_ROWS = 1  # what BLAS calls a vector


def linear(x: Floats, weight: Floats | Weight, bias: Floats | None = None) -> Array:
    """x weightᵀ + bias. A weight the cache does not keep is decoded and used block by block."""
    rows = np.ascontiguousarray(x.reshape(-1, x.shape[-1]))
    whole = weight.kept() if isinstance(weight, Weight) else weight
    if whole is not None:
        product = rows @ whole.T
    else:
        assert isinstance(weight, Weight)
        product = np.empty((len(rows), weight.shape[0]), np.float32)

        def multiply(start: int, stop: int, block: Floats) -> None:
            product[:, start:stop] = rows @ block.T

        # BLAS multiplies few rows in one thread and many in its own, which must not meet ours.
        weight.each_block(multiply, side_by_side=len(rows) <= FEW_ROWS)
    if bias is not None:
        product += bias
    return product.reshape(*x.shape[:-1], product.shape[-1])


def matmul(x: Array, y: Array, transpose_x: Array | None = None, transpose_y: Array | None = None) -> Array:
    left = np.swapaxes(x, -1, -2) if transpose_x is not None and transpose_x else x
    right = np.swapaxes(y, -1, -2) if transpose_y is not None and transpose_y else y
    return np.asarray(np.matmul(_for_blas(left), _for_blas(right)))


def scaled_dot_product_attention(
    query: Floats, key: Floats, value: Floats, attn_mask: Array | None = None
) -> Array:
    """softmax(query keyᵀ / √width + mask) value; a boolean mask is true where to attend.

    query: [batch, …, L, E]. key: [batch, …, S, E]. value: [batch, …, S, V]. Leading dimensions are
    equal: iOS 18's operation does not broadcast heads. mask: broadcasts to [batch, …, L, S].
    """
    if not query.shape[:-2] == key.shape[:-2] == value.shape[:-2] or query.ndim < 3:
        raise ValueError(f"attention over {query.shape}, {key.shape}, {value.shape}")
    scaled = query * np.float32(1 / math.sqrt(query.shape[-1]))
    scores = np.matmul(scaled, _for_blas(np.swapaxes(key, -1, -2)))  # [batch, …, L, S]
    if attn_mask is not None:
        if attn_mask.dtype == np.bool_:
            np.copyto(scores, -np.inf, where=~attn_mask)
        else:
            scores += attn_mask
    scores -= scores.max(axis=-1, keepdims=True)
    np.exp(scores, out=scores)
    total = scores.sum(axis=-1, keepdims=True)
    attended = np.matmul(scores, _for_blas(value))
    attended /= total  # after the product: V columns instead of S
    return np.asarray(attended)


def _for_blas(matrices: Array) -> Array:
    if matrices.ndim < 2 or matrices.itemsize in matrices.strides[-2:]:
        return matrices
    return np.ascontiguousarray(matrices)
