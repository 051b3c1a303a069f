"""The operations of the MIL evaluator, each called in several ways, beside an independent answer.

The matrix: every name of the operation table, over shapes, ranks, negative axes, broadcasting, masks,
strides and default arguments. `torch` cases carry an answer from torch; all others are answered by
coremltools' own constant folding of the same call. Not about device numerics, nor about calls MIL
itself refuses.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

RANDOM = np.random.default_rng(7)


@dataclass(frozen=True)
class Case:
    """One call. arguments: as for coremltools' builder. torch: the answer, of the same arguments as
    tensors; None asks coremltools."""

    operation: str
    arguments: dict[str, Any]
    torch: Callable[..., Tensor] | None = None


def normal(*shape: int) -> np.ndarray[Any, np.dtype[np.float32]]:
    return RANDOM.standard_normal(shape).astype(np.float32)


def integers(low: int, high: int, *shape: int) -> np.ndarray[Any, np.dtype[np.int32]]:
    return RANDOM.integers(low, high, shape).astype(np.int32)


def booleans(*shape: int) -> np.ndarray[Any, np.dtype[np.bool_]]:
    return RANDOM.random(shape) < 0.5


def _binary() -> list[Case]:
    floats: list[dict[str, Any]] = [
        {"x": normal(2, 3), "y": normal(2, 3)},
        {"x": normal(2, 1, 4), "y": normal(3, 1)},
        {"x": normal(2, 3), "y": np.float32(0.75)},
        {"x": np.float32(-1.5), "y": normal(4)},
    ]
    whole: list[dict[str, Any]] = [
        {"x": integers(-9, 9, 2, 5), "y": integers(1, 5, 2, 5)},
        {"x": integers(-9, 9, 3, 1), "y": np.int32(3)},
        {"x": np.int32(-7), "y": np.int32(2)},
    ]
    arithmetic = ("add", "sub", "mul", "floor_div", "mod", "maximum", "minimum")
    comparisons = ("equal", "not_equal", "greater", "greater_equal", "less", "less_equal")
    logic: list[dict[str, Any]] = [
        {"x": booleans(2, 5), "y": booleans(2, 5)},
        {"x": booleans(3, 1), "y": booleans(2, 1, 4)},
    ]
    ties: dict[str, Any] = {"x": np.array([1, 2, 3], np.float32), "y": np.array([1, 3, 2], np.float32)}
    return [
        *(Case(name, call) for name in arithmetic for call in [*floats, *whole]),
        *(Case(name, call) for name in comparisons for call in [*floats, *whole, ties]),
        *(Case(name, c) for name in ("logical_and", "logical_or", "logical_xor") for c in logic),
        *(Case("real_div", call) for call in floats),
        Case("pow", {"x": np.abs(normal(2, 3)), "y": normal(3)}),
        Case("pow", {"x": normal(2, 3), "y": np.float32(2)}),
        Case("pow", {"x": integers(-4, 4, 3), "y": np.int32(3)}),
    ]


def _unary() -> list[Case]:
    positive = np.abs(normal(3, 4)) + np.float32(0.1)
    wide = (normal(4, 5) * 4).astype(np.float32)
    return [
        *(Case(n, {"x": x}) for n in ("abs", "square") for x in (wide, integers(-9, 9, 7))),
        *(Case(n, {"x": wide}) for n in ("exp", "sin", "cos", "tanh", "sigmoid")),
        *(Case(n, {"x": normal(2, 1, 3)}) for n in ("exp", "sin", "cos", "tanh", "sigmoid")),
        Case("relu", {"x": wide}),
        Case("relu", {"x": normal(1, 3, 2)}),
        Case("silu", {"x": wide}, lambda x: functional.silu(x)),
        Case("silu", {"x": normal(1, 2, 3)}, lambda x: functional.silu(x)),
        Case("logical_not", {"x": booleans(3, 4)}),
        Case("sqrt", {"x": positive}),
        Case("rsqrt", {"x": positive}),
        Case("rsqrt", {"x": positive, "epsilon": np.float32(0.5)}),
        Case("inverse", {"x": positive}),
        Case("inverse", {"x": positive, "epsilon": np.float32(0.5)}),
        Case("clip", {"x": wide, "alpha": np.float32(-1.25), "beta": np.float32(2.5)}),
        Case("gelu", {"x": wide}, lambda x: functional.gelu(x)),
        Case("gelu", {"x": wide, "mode": "EXACT"}),
        Case(
            "gelu",
            {"x": wide, "mode": "TANH_APPROXIMATION"},
            lambda x, mode: functional.gelu(x, approximate="tanh"),
        ),
        Case("gelu", {"x": normal(1, 3, 8), "mode": "TANH_APPROXIMATION"}),
        Case("gelu", {"x": wide, "mode": "SIGMOID_APPROXIMATION"}),
        Case("cast", {"x": wide, "dtype": "int32"}),
        Case("cast", {"x": np.array([[-1.75, 0.0], [0.25, 3.0]], np.float32), "dtype": "bool"}),
        Case("cast", {"x": np.array([1.5, -2.25, 0.0], np.float32), "dtype": "fp16"}),
        Case("cast", {"x": integers(-300, 300, 5), "dtype": "fp32"}),
        Case("cast", {"x": integers(-99, 99, 5), "dtype": "int16"}),
        Case("cast", {"x": integers(-99, 99, 5), "dtype": "int8"}),
        Case("cast", {"x": integers(0, 60000, 5), "dtype": "uint16"}),
        Case("cast", {"x": booleans(2, 3), "dtype": "fp32"}),
        Case("select", {"cond": booleans(2, 3), "a": normal(2, 3), "b": normal(2, 3)}),
        Case("select", {"cond": booleans(2, 1), "a": normal(2, 3), "b": np.float32(-1e4)}),
        Case("select", {"cond": booleans(3), "a": integers(0, 9, 3), "b": integers(0, 9, 3)}),
    ]


def _rearranging() -> list[Case]:
    x = normal(2, 3, 4)
    return [
        Case("identity", {"x": x}),
        Case("shape", {"x": x}),
        Case("shape", {"x": np.zeros((5,), np.int32)}),
        Case("reshape", {"x": x, "shape": (4, 6)}),
        Case("reshape", {"x": x, "shape": (-1, 2)}),
        Case("reshape", {"x": x, "shape": (3, 1, -1, 2)}),
        Case("reshape", {"x": x, "shape": (6, 0)}),
        Case("reshape", {"x": x, "shape": (-1, 0, 2, 2)}),
        Case("transpose", {"x": x, "perm": (0, 2, 1)}),
        Case("transpose", {"x": x, "perm": (-1, 0, -2)}),
        Case("expand_dims", {"x": x, "axes": (0,)}),
        Case("expand_dims", {"x": x, "axes": (-1, 1)}),
        Case("expand_dims", {"x": np.int32(5), "axes": (0,)}),
        Case("squeeze", {"x": normal(1, 3, 1, 2), "axes": (0, -2)}),
        Case("squeeze", {"x": normal(1, 3, 1, 2), "axes": (2,)}),
        Case("squeeze", {"x": normal(1, 3, 1, 2)}),
        Case("tile", {"x": x, "reps": (1, 2, 3)}),
        Case("tile", {"x": x, "reps": (1, 1, 1)}),
        Case("concat", {"values": (normal(2, 3), normal(2, 1)), "axis": 1}),
        Case("concat", {"values": (normal(2, 3), normal(1, 3), normal(4, 3)), "axis": -2}),
        Case("concat", {"values": (np.int32(4), np.int32(9)), "axis": 0}),
        Case("concat", {"values": (x,), "axis": 0, "interleave": False}),
        Case("stack", {"values": (normal(2, 3), normal(2, 3)), "axis": 0}),
        Case("stack", {"values": (normal(2, 3), normal(2, 3)), "axis": -1}),
        Case("split", {"x": x, "num_splits": 2, "axis": -1}),
        Case("split", {"x": x, "split_sizes": (1, 3), "axis": 2}),
        Case("split", {"x": x, "num_splits": 2, "split_sizes": (2, 1), "axis": 1}),
        Case("pad", {"x": x, "pad": (0, 0, 2, 0, 1, 3)}),
        Case("pad", {"x": x, "pad": (1, 2), "mode": "constant", "constant_val": np.float32(-1.5)}),
        Case("pad", {"x": normal(3), "pad": (0, 2)}),
        Case("fill", {"shape": (2, 3), "value": np.float32(1.5)}),
        Case("fill", {"shape": (4,), "value": np.int32(-3)}),
        Case("range_1d", {"start": np.int32(2), "end": np.int32(9), "step": np.int32(3)}),
        Case("range_1d", {"start": np.int32(0), "end": np.int32(5), "step": np.int32(1)}),
        Case("range_1d", {"start": np.float32(0), "end": np.float32(2), "step": np.float32(0.5)}),
        Case("band_part", {"x": normal(4, 5), "lower": -1, "upper": 0}),
        Case("band_part", {"x": normal(2, 4, 3), "lower": 1, "upper": 1}),
        Case("band_part", {"x": normal(4, 4)}),
    ]


def _indexing() -> list[Case]:
    x, table = normal(4, 5, 6), normal(7, 3)
    updates = {"x": x, "begin": (1, 0, 0), "end": (3, 0, 2), "end_mask": (False, True, False)}
    return [
        Case("slice_by_index", {"x": x, "begin": (1, 0, 2), "end": (3, 5, 4)}),
        Case("slice_by_index", {"x": x, "begin": (-3, -4, 0), "end": (-1, 5, -2)}),
        Case(
            "slice_by_index",
            {"x": x, "begin": (0, 1, 0), "end": (4, 5, 6), "stride": (2, 3, 1)},
        ),
        Case(
            "slice_by_index",
            {
                "x": x,
                "begin": (3, 4, 0),
                "end": (0, 0, 6),
                "stride": (-2, -1, 2),
                "end_mask": (True, False, False),
            },
        ),
        Case(
            "slice_by_index",
            {
                "x": x,
                "begin": (9, 2, 1),
                "end": (9, 0, 3),
                "begin_mask": (True, False, False),
                "end_mask": (True, True, False),
            },
        ),
        Case(
            "slice_by_index",
            {
                "x": x,
                "begin": (2, 0, -1),
                "end": (0, 0, 0),
                "end_mask": (False, True, False),
                "squeeze_mask": (True, False, True),
            },
        ),
        Case("slice_by_index", {"x": integers(0, 9, 5), "begin": (2,), "end": (4,)}),
        Case(
            "slice_by_index",
            {"x": integers(0, 9, 5), "begin": (3,), "end": (0,), "squeeze_mask": (True,)},
        ),
        Case("slice_update", {**updates, "update": normal(2, 5, 2)}),
        Case(
            "slice_update",
            {
                "x": x,
                "update": normal(5, 3),
                "begin": (-1, 9, 0),
                "end": (0, 9, 6),
                "stride": (1, 1, 2),
                "begin_mask": (False, True, False),
                "end_mask": (False, True, False),
                "squeeze_mask": (True, False, False),
            },
        ),
        Case("gather", {"x": table, "indices": integers(0, 7, 4)}),
        Case("gather", {"x": table, "indices": integers(0, 7, 2, 3), "axis": 0}),
        Case("gather", {"x": table, "indices": integers(-3, 3, 2, 2), "axis": 1}),
        Case("gather", {"x": table, "indices": integers(-7, 0, 5), "axis": -2}),
        Case("gather", {"x": integers(0, 9, 6), "indices": np.int32(4), "axis": 0}),
        Case(
            "gather",
            {"x": table, "indices": integers(0, 7, 3), "batch_dims": 0, "validate_indices": False},
        ),
    ]


def _reductions() -> list[Case]:
    x = normal(2, 3, 4)
    names = (
        "reduce_mean",
        "reduce_sum",
        "reduce_max",
        "reduce_min",
        "reduce_sum_square",
        "reduce_l2_norm",
    )
    ways: list[dict[str, Any]] = [
        {"axes": (-1,), "keep_dims": True},
        {"axes": (0, 2), "keep_dims": False},
        {"axes": (1,)},
        {},
    ]
    gamma, beta = normal(4), normal(4)
    return [
        *(Case(name, {"x": x, **way}) for name in names for way in ways),
        Case("reduce_sum", {"x": integers(-9, 9, 3, 4), "axes": (0,)}),
        Case("reduce_max", {"x": integers(-9, 9, 3, 4), "axes": (-1,), "keep_dims": True}),
        Case("reduce_argmax", {"x": x, "axis": -1}),
        Case("reduce_argmax", {"x": x, "axis": 0, "keep_dims": True}),
        Case("reduce_argmax", {"x": x, "axis": 1, "output_dtype": "uint16"}),
        Case("softmax", {"x": (x * 20).astype(np.float32)}, lambda x: x.softmax(-1)),
        Case("softmax", {"x": x, "axis": 1}, lambda x, axis: x.softmax(int(axis))),
        Case("softmax", {"x": x, "axis": -3}),
        Case("layer_norm", {"x": x, "axes": (-1,)}, lambda x, axes: functional.layer_norm(x, (4,))),
        Case(
            "layer_norm",
            {"x": x, "axes": (-1,), "gamma": gamma, "beta": beta, "epsilon": np.float32(0.25)},
            lambda x, axes, gamma, beta, epsilon: functional.layer_norm(
                x, (4,), gamma, beta, float(epsilon)
            ),
        ),
        Case(
            "layer_norm",
            {"x": x, "axes": (1, 2), "gamma": normal(3, 4), "epsilon": np.float32(1e-3)},
            lambda x, axes, gamma, epsilon: functional.layer_norm(x, (3, 4), gamma, eps=float(epsilon)),
        ),
        Case(
            "layer_norm",
            {"x": x, "axes": (0, 1, 2)},
            lambda x, axes: functional.layer_norm(x, (2, 3, 4)),
        ),
        Case("layer_norm", {"x": x, "axes": (1,), "epsilon": np.float32(1e-6)}),
    ]


def _products() -> list[Case]:
    def attention(query: Tensor, key: Tensor, value: Tensor, attn_mask: Tensor | None = None) -> Tensor:
        return functional.scaled_dot_product_attention(query, key, value, attn_mask)

    causal = np.tril(np.ones((3, 5), np.bool_), 2)
    heads = {"query": normal(1, 2, 3, 4), "key": normal(1, 2, 5, 4), "value": normal(1, 2, 5, 6)}
    additive = np.where(causal, 0, -1e4).astype(np.float32)
    return [
        Case(
            "linear",
            {"x": normal(2, 3, 4), "weight": normal(5, 4)},
            lambda x, weight: functional.linear(x, weight),
        ),
        Case(
            "linear",
            {"x": normal(3, 4), "weight": normal(5, 4), "bias": normal(5)},
            lambda x, weight, bias: functional.linear(x, weight, bias),
        ),
        Case("linear", {"x": normal(1, 1, 4), "weight": normal(2, 4), "bias": normal(2)}),
        Case("matmul", {"x": normal(2, 3, 4), "y": normal(2, 4, 5)}),
        Case("matmul", {"x": normal(3, 4), "y": normal(2, 1, 4, 5)}),
        Case("matmul", {"x": normal(4), "y": normal(4, 5)}),
        Case(
            "matmul",
            {"x": normal(2, 4, 3), "y": normal(2, 5, 4), "transpose_x": True, "transpose_y": True},
        ),
        Case("matmul", {"x": integers(-5, 5, 2, 3), "y": integers(-5, 5, 3, 2)}),
        Case("scaled_dot_product_attention", heads, attention),
        Case("scaled_dot_product_attention", {**heads, "attn_mask": additive}, attention),
        Case("scaled_dot_product_attention", {**heads, "attn_mask": causal}, attention),
        Case(
            "scaled_dot_product_attention",
            {**heads, "attn_mask": additive[None, None]},
            attention,
        ),
        Case(
            "scaled_dot_product_attention",
            {"query": normal(2, 3, 4), "key": normal(2, 5, 4), "value": normal(2, 5, 4)},
            attention,
        ),
    ]


CASES: tuple[Case, ...] = (
    *_binary(),
    *_unary(),
    *_rearranging(),
    *_indexing(),
    *_reductions(),
    *_products(),
)


def torch_answer(case: Case) -> np.ndarray[Any, np.dtype[np.generic]]:
    """What torch says of a case that carries a torch function."""
    assert case.torch is not None
    tensors = {
        key: torch.from_numpy(np.asarray(value)) if isinstance(value, np.ndarray) else value
        for key, value in case.arguments.items()
    }
    return case.torch(**tensors).numpy()
