"""Operations this lowering adds to torch, so that a trace says exactly what Core ML should get.

    placeholder_linear(x, weight)      records a linear and returns zeros: a head of a billion weights is
                                       traced without multiplying by one. In Core ML a matmul with a
                                       graph input, which `binding` turns into `linear`.
    placeholder_attention(q, k, v)     records attention without a mask and returns zeros: of 4096 patches,
                                       scores alone are a gigabyte.
    more_rows(x, rows)                 nothing in Core ML; while tracing, as many rows as there will be, of
                                       the few that what comes before is traced of.
    cache_rows(cache, layer, end)      the first `end` slots of one layer in one `slice_by_index`; written
                                       as indexing it would copy all of the layer's slots first.
    rows_from(rows, first)             rows from a computed one on; written as slicing, coremltools would
                                       lose sight of the sizes of all axes.
    whole_blocks(rows, size)           the least multiple of a size that holds so many rows; written as
                                       arithmetic, coremltools would multiply lengths in half precision,
                                       which counts to 2048.

torch and coremltools each keep one table of operations for the process: both are entered once.
Not about the decoder (`dialect`).
"""

from __future__ import annotations

import functools
from typing import Any

import torch
from torch import Tensor
from torch.library import Library

NAMESPACE = "gemma_export"


def placeholder(shape: tuple[int, ...]) -> Tensor:
    """A tensor of this shape that owns a single number."""
    return torch.zeros(1).expand(shape)


def placeholder_linear(x: Tensor, weight: Tensor) -> Tensor:
    """x [..., in] through weight [out, in]: zeros [..., out], with the node recorded."""
    _define()
    result: Tensor = getattr(torch.ops, NAMESPACE).placeholder_linear(x, weight)
    return result


def placeholder_attention(query: Tensor, key: Tensor, value: Tensor) -> Tensor:
    """softmax(query keyᵀ / √width) value, of [1, heads, rows, width]: zeros, with the node recorded."""
    _define()
    result: Tensor = getattr(torch.ops, NAMESPACE).placeholder_attention(query, key, value)
    return result


def more_rows(x: Tensor, rows: int) -> Tensor:
    """x [1, few, width] as [1, rows, width] of one number."""
    _define()
    result: Tensor = getattr(torch.ops, NAMESPACE).more_rows(x, rows)
    return result


def cache_rows(cache: Tensor, layer: int, end: int | Tensor) -> Tensor:
    """cache [layers, 1, kv_heads, slots, head_dim] to [1, kv_heads, end, head_dim]."""
    _define()
    # While tracing a length is a tensor; handed over as a number it would freeze in the graph.
    length = torch.as_tensor(end)
    result: Tensor = getattr(torch.ops, NAMESPACE).cache_rows(cache, layer, length)
    return result


def rows_from(rows: Tensor, first: Tensor) -> Tensor:
    """rows [1, kv_heads, rows, head_dim] without those before `first`."""
    _define()
    result: Tensor = getattr(torch.ops, NAMESPACE).rows_from(rows, first)
    return result


def whole_blocks(rows: int | Tensor, size: int) -> Tensor:
    """rows, rounded up to a multiple of `size`."""
    _define()
    result: Tensor = getattr(torch.ops, NAMESPACE).whole_blocks(torch.as_tensor(rows), size)
    return result


@functools.cache
def _define() -> object:
    """Enter the nodes in torch's table; what is returned keeps them there."""
    library: Any = Library(NAMESPACE, "DEF")  # type: ignore[no-untyped-call]  # torch's own
    library.define("placeholder_linear(Tensor x, Tensor weight) -> Tensor")
    library.define("placeholder_attention(Tensor query, Tensor key, Tensor value) -> Tensor")
    library.define("more_rows(Tensor x, int rows) -> Tensor")
    library.define("cache_rows(Tensor cache, int layer, Tensor end) -> Tensor")
    library.define("rows_from(Tensor rows, Tensor first) -> Tensor")
    library.define("whole_blocks(Tensor rows, int size) -> Tensor")
    library.impl("placeholder_linear", _zeros, "CPU")
    library.impl("placeholder_attention", _no_attention, "CPU")
    library.impl("more_rows", _more, "CPU")
    library.impl("cache_rows", _rows, "CPU")
    library.impl("rows_from", _tail, "CPU")
    library.impl("whole_blocks", _rounded_up, "CPU")
    return library


def _zeros(x: Tensor, weight: Tensor) -> Tensor:
    return x.new_zeros(1).expand(*x.shape[:-1], weight.shape[0])


def _no_attention(query: Tensor, key: Tensor, value: Tensor) -> Tensor:
    return query.new_zeros(1).expand(*query.shape[:-1], value.shape[-1])


def _more(x: Tensor, rows: int) -> Tensor:
    return x.new_zeros(1).expand(x.shape[0], rows, x.shape[2])


def _rows(cache: Tensor, layer: int, end: Tensor) -> Tensor:
    return cache[layer, :, :, : int(end)].clone()


def _tail(rows: Tensor, first: Tensor) -> Tensor:
    return rows[:, :, int(first) :].clone()


def _rounded_up(rows: Tensor, size: int) -> Tensor:
    return (rows + size - 1) // size * size


@functools.cache
def register_with_coremltools() -> None:
    """Tell coremltools' converter what the nodes become."""
    from coremltools.converters.mil import Builder, register_torch_op

    def placeholder_linear(context: Any, node: Any) -> None:
        x, weight = (context[name] for name in node.inputs)
        context.add(Builder.matmul(x=x, y=weight, transpose_y=True, name=node.name))

    def placeholder_attention(context: Any, node: Any) -> None:
        query, key, value = (context[name] for name in node.inputs)
        attended = Builder.scaled_dot_product_attention(query=query, key=key, value=value, name=node.name)
        context.add(attended)

    def more_rows(context: Any, node: Any) -> None:
        x, _ = (context[name] for name in node.inputs)
        context.add(x, torch_name=node.name)

    def cache_rows(context: Any, node: Any) -> None:
        cache, layer, end = (context[name] for name in node.inputs)
        first, (_, batch, kv_heads, _, head_dim) = int(layer.val), cache.shape
        stop = Builder.concat(values=[first + 1, batch, kv_heads, end, head_dim], axis=0)
        rows = Builder.slice_by_index(
            x=cache,
            begin=[first, 0, 0, 0, 0],
            end=stop,
            # Open bounds say what a computed one cannot: those axes keep their size.
            end_mask=[False, True, True, False, True],
            squeeze_mask=[True, False, False, False, False],
            name=node.name,
        )
        context.add(rows)

    def rows_from(context: Any, node: Any) -> None:
        rows, first = (context[name] for name in node.inputs)
        tail = Builder.slice_by_index(
            x=rows,
            begin=Builder.concat(values=[0, 0, first, 0], axis=0),
            end=[0, 0, 0, 0],
            begin_mask=[True, True, False, True],
            end_mask=[True] * 4,
            name=node.name,
        )
        context.add(tail)

    def whole_blocks(context: Any, node: Any) -> None:
        rows, size = (context[name] for name in node.inputs)
        blocks = Builder.floor_div(x=Builder.add(x=rows, y=size.val - 1), y=size)
        context.add(Builder.mul(x=blocks, y=size, name=node.name))

    nodes = (placeholder_linear, placeholder_attention, more_rows, cache_rows, rows_from, whole_blocks)
    for convert in nodes:
        register_torch_op(convert, torch_alias=[f"{NAMESPACE}::{convert.__name__}"])
