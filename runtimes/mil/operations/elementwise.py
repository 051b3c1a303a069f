"""Operations on elements: arithmetic, comparison, logic, activation functions, casts.

Semantics: coremltools' MIL operation reference, iOS 15 to 18. Operands broadcast as in numpy. Every
floating result is a new array.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np

from runtimes.mil.tensor_types import MEMORY_DTYPE, NAMED, Array, Floats


def of_one(ufunc: np.ufunc) -> Callable[[Array], Array]:
    """The operation whose one input, x, goes through a numpy function."""

    def operation(x: Array) -> Array:
        return np.asarray(ufunc(x))

    return operation


def of_two(ufunc: np.ufunc) -> Callable[[Array, Array], Array]:
    """The operation whose inputs, x and y, go through a numpy function."""

    def operation(x: Array, y: Array) -> Array:
        return np.asarray(ufunc(x, y))

    return operation


def real_div(x: Array, y: Array) -> Array:
    if x.dtype != np.float32:
        raise ValueError("the quotient of integers is not specified; cast, or use floor_div")
    return np.asarray(np.divide(x, y))


def select(cond: Array, a: Array, b: Array) -> Array:
    return np.where(cond, a, b)


def rsqrt(x: Floats, epsilon: Floats | None = None) -> Array:
    return np.asarray(np.reciprocal(np.sqrt(x + (np.float32(1e-12) if epsilon is None else epsilon))))


def inverse(x: Floats, epsilon: Floats | None = None) -> Array:
    return np.asarray(np.reciprocal(x + (np.float32(1e-4) if epsilon is None else epsilon)))


def sigmoid(x: Floats) -> Array:
    return np.asarray(np.reciprocal(1 + np.exp(-x)))


def relu(x: Floats) -> Array:
    return np.asarray(np.maximum(x, 0))


def silu(x: Floats) -> Array:
    return np.asarray(np.divide(x, 1 + np.exp(-x)))


def clip(x: Floats, alpha: Floats, beta: Floats) -> Array:
    return np.asarray(np.minimum(np.maximum(x, alpha), beta))


def gelu(x: Floats, mode: str = "EXACT") -> Array:
    """x Φ(x): exact, or one of the two approximations (Hendrycks & Gimpel, arXiv 1606.08415)."""
    match mode:
        case "TANH_APPROXIMATION":
            scale = math.sqrt(2 / math.pi)
            inner = np.asarray(x * x)
            inner *= 0.044715 * scale
            inner += scale
            inner *= x
            np.tanh(inner, out=inner)
            inner += 1
            inner *= x
            inner *= 0.5
            return inner
        case "SIGMOID_APPROXIMATION":
            return np.asarray(np.divide(x, 1 + np.exp(-1.702 * x)))
        case "EXACT":
            error_function = np.vectorize(math.erf, otypes=[np.float64])
            return np.asarray(0.5 * x * (1 + error_function(x / math.sqrt(2)))).astype(np.float32)
        case _:
            raise ValueError(f"gelu mode {mode!r} is not one of MIL's")


def cast(x: Array, dtype: str) -> Array:
    """Floats become integers by dropping their fraction; anything but zero becomes true."""
    return x.astype(MEMORY_DTYPE[NAMED[dtype]])
