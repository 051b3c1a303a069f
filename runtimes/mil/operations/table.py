"""Every operation the evaluator knows. What is not here is refused by name when a program is opened.

A function's parameters are the operation's inputs, those with a default its optional ones, and so are
the keys of a TypedDict it unpacks: an input the signature does not name is refused. Each entry is
compared with an independent source in tests/parity/test_mil_operations.py, which fails for an entry
without such a comparison.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from inspect import Parameter, signature
from typing import get_args, get_type_hints

import numpy as np

from runtimes.mil.operations import elementwise as e
from runtimes.mil.operations import indexing, linear_algebra, rearranging, reductions
from runtimes.mil.tensor_types import NAMED, Array, DataType

Function = Callable[..., Array | tuple[Array, ...]]
ArgumentTypes = Mapping[str, tuple[DataType, ...]]
TypeRule = Callable[[ArgumentTypes, Mapping[str, object]], DataType]
"""Element type of the results, of the arguments' types and the constant arguments' values. Raises
ValueError where the operation does not take such types."""


@dataclass(frozen=True)
class Operation:
    """How one operation is executed.

    exact: results only hold values the inputs held, so there is nothing to round.
    may_alias: a result may be a view of an input. Otherwise every result owns its memory.
    undecoded: inputs that take a `Weight` as it is; others get its decoded values.
    overwrites: the input whose memory the result reuses.
    """

    function: Function
    result: TypeRule
    exact: bool = False
    may_alias: bool = False
    undecoded: frozenset[str] = frozenset()
    overwrites: str | None = None
    required: frozenset[str] = field(init=False)
    optional: frozenset[str] = field(init=False)

    def __post_init__(self) -> None:
        required, optional = _inputs(self.function)
        object.__setattr__(self, "required", required)
        object.__setattr__(self, "optional", optional)


def _inputs(function: Function) -> tuple[frozenset[str], frozenset[str]]:
    """Names of a function's required and optional inputs."""
    required: frozenset[str] = frozenset()
    optional: frozenset[str] = frozenset()
    for parameter in signature(function).parameters.values():
        if parameter.kind is Parameter.VAR_KEYWORD:
            (unpacked,) = get_args(get_type_hints(function)[parameter.name])
            required |= unpacked.__required_keys__
            optional |= unpacked.__optional_keys__
        elif parameter.default is Parameter.empty:
            required |= {parameter.name}
        else:
            optional |= {parameter.name}
    return required, optional


# Inputs that are lists of values, of any operation that has them.
LISTS = frozenset({"values"})


def _like(*inputs: str) -> TypeRule:
    """The one type all the named inputs have."""

    def rule(types: ArgumentTypes, constants: Mapping[str, object]) -> DataType:
        found = {kind for name in inputs for kind in types[name]}
        if len(found) != 1:
            raise ValueError(f"{' and '.join(inputs)} have types {sorted(k.name for k in found)}")
        return found.pop()

    return rule


def _always(kind: DataType, *alike: str) -> TypeRule:
    def rule(types: ArgumentTypes, constants: Mapping[str, object]) -> DataType:
        if alike:
            _like(*alike)(types, constants)
        return kind

    return rule


def _named_by(name: str, default: DataType | None = None) -> TypeRule:
    """The type a constant string argument names."""

    def rule(types: ArgumentTypes, constants: Mapping[str, object]) -> DataType:
        named = constants.get(name)
        if named is None and name not in types and default is not None:
            return default
        if not isinstance(named, str) or named not in NAMED:
            raise ValueError(f"{name} {named!r} does not name an element type")
        return NAMED[named]

    return rule


_X, _XY, _BOOL_XY = _like("x"), _like("x", "y"), _always(DataType.BOOL, "x", "y")

OPERATIONS: dict[str, Operation] = {
    # arithmetic, comparison, logic
    "add": Operation(e.of_two(np.add), _XY),
    "sub": Operation(e.of_two(np.subtract), _XY),
    "mul": Operation(e.of_two(np.multiply), _XY),
    "real_div": Operation(e.real_div, _XY),
    "floor_div": Operation(e.of_two(np.floor_divide), _XY),
    "mod": Operation(e.of_two(np.mod), _XY),
    "pow": Operation(e.of_two(np.power), _XY),
    "maximum": Operation(e.of_two(np.maximum), _XY, exact=True),
    "minimum": Operation(e.of_two(np.minimum), _XY, exact=True),
    "equal": Operation(e.of_two(np.equal), _BOOL_XY),
    "not_equal": Operation(e.of_two(np.not_equal), _BOOL_XY),
    "greater": Operation(e.of_two(np.greater), _BOOL_XY),
    "greater_equal": Operation(e.of_two(np.greater_equal), _BOOL_XY),
    "less": Operation(e.of_two(np.less), _BOOL_XY),
    "less_equal": Operation(e.of_two(np.less_equal), _BOOL_XY),
    "logical_and": Operation(e.of_two(np.logical_and), _BOOL_XY),
    "logical_or": Operation(e.of_two(np.logical_or), _BOOL_XY),
    "logical_xor": Operation(e.of_two(np.logical_xor), _BOOL_XY),
    "logical_not": Operation(e.of_one(np.logical_not), _X),
    "select": Operation(e.select, _like("a", "b"), exact=True),
    # functions of one element
    "abs": Operation(e.of_one(np.abs), _X, exact=True),
    "square": Operation(e.of_one(np.square), _X),
    "sqrt": Operation(e.of_one(np.sqrt), _X),
    "rsqrt": Operation(e.rsqrt, _X),
    "inverse": Operation(e.inverse, _X),
    "exp": Operation(e.of_one(np.exp), _X),
    "cos": Operation(e.of_one(np.cos), _X),
    "sin": Operation(e.of_one(np.sin), _X),
    "tanh": Operation(e.of_one(np.tanh), _X),
    "sigmoid": Operation(e.sigmoid, _X),
    "relu": Operation(e.relu, _X, exact=True),
    "silu": Operation(e.silu, _X),
    "gelu": Operation(e.gelu, _X),
    "clip": Operation(e.clip, _like("x", "alpha", "beta"), exact=True),
    "cast": Operation(e.cast, _named_by("dtype")),
    # shapes and rearranging
    "identity": Operation(rearranging.identity, _X, exact=True, may_alias=True),
    "shape": Operation(rearranging.shape, _always(DataType.INT32), undecoded=frozenset({"x"})),
    "reshape": Operation(rearranging.reshape, _X, exact=True, may_alias=True),
    "transpose": Operation(rearranging.transpose, _X, exact=True, may_alias=True),
    "expand_dims": Operation(rearranging.expand_dims, _X, exact=True, may_alias=True),
    "squeeze": Operation(rearranging.squeeze, _X, exact=True, may_alias=True),
    "tile": Operation(rearranging.tile, _X, exact=True, may_alias=True),
    "concat": Operation(rearranging.concat, _like("values"), exact=True),
    "stack": Operation(rearranging.stack, _like("values"), exact=True),
    "split": Operation(rearranging.split, _X, exact=True, may_alias=True),
    "pad": Operation(rearranging.pad, _X, exact=True),
    "fill": Operation(rearranging.fill, _like("value"), exact=True),
    "range_1d": Operation(rearranging.range_1d, _like("start", "end", "step")),
    "band_part": Operation(rearranging.band_part, _X, exact=True),
    # parts of a tensor
    "slice_by_index": Operation(indexing.slice_by_index, _X, exact=True, may_alias=True),
    "slice_update": Operation(indexing.slice_update, _like("x", "update"), exact=True, overwrites="x"),
    "gather": Operation(indexing.gather, _X, exact=True, undecoded=frozenset({"x"})),
    # reductions and normalisations
    "reduce_mean": Operation(reductions.reduce_mean, _X),
    "reduce_sum": Operation(reductions.reduce_sum, _X),
    "reduce_max": Operation(reductions.reduce_max, _X, exact=True),
    "reduce_min": Operation(reductions.reduce_min, _X, exact=True),
    "reduce_sum_square": Operation(reductions.reduce_sum_square, _X),
    "reduce_l2_norm": Operation(reductions.reduce_l2_norm, _X),
    "reduce_argmax": Operation(reductions.reduce_argmax, _named_by("output_dtype", DataType.INT32)),
    "softmax": Operation(reductions.softmax, _X),
    "layer_norm": Operation(reductions.layer_norm, _X),
    # products
    "linear": Operation(linear_algebra.linear, _X, undecoded=frozenset({"weight"})),
    "matmul": Operation(linear_algebra.matmul, _XY),
    "scaled_dot_product_attention": Operation(
        linear_algebra.scaled_dot_product_attention, _like("query", "key", "value")
    ),
}
