"""`ArithmeticTracer`: writes the decoder's own arithmetic into the graph as torch performs it.

The decoder adds, multiplies, reshapes and indexes tensors between the dialect's operations. Those few
torch operations arrive here; any other is refused by name, so nothing is computed outside the graph.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from exporter.errors import LoweringError
from exporter.lowering.litert.operations import Operations

_aten = torch.ops.aten


class ArithmeticTracer(TorchDispatchMode):  # type: ignore[no-untyped-call]  # torch's own
    """Active (`with`) while the decoder runs on the meta values of one subgraph.

    What touches no graph value (a table of frequencies, a builder making a new value) runs as usual.
    """

    def __init__(self, ops: Operations) -> None:
        super().__init__()  # type: ignore[no-untyped-call]  # torch's own
        self.ops = ops

    @classmethod
    def _should_skip_dynamo(cls) -> bool:
        # torch's hook to keep its compiler out of a mode; otherwise each export would import it (4 s).
        return False

    def __torch_dispatch__(
        self,
        func: Callable[..., Any],
        types: Sequence[type],
        args: Sequence[Any] = (),
        kwargs: Mapping[str, Any] | None = None,
    ) -> Tensor:
        ops = self.ops
        flat = tree_leaves((args, kwargs))
        if not any(isinstance(arg, Tensor) and arg.is_meta for arg in flat):
            made: Tensor = func(*args, **(kwargs or {}))
            return made
        match func, tuple(args):
            case _aten.mul.Tensor, (Tensor() as x, (Tensor() | int() | float()) as y):
                return ops.multiply(x, y)
            case _aten.add.Tensor, (Tensor() as x, (Tensor() | int() | float()) as y) if not kwargs:
                return ops.add(x, y)
            case _aten.sub.Tensor, (Tensor() as x, (Tensor() | int() | float()) as y) if not kwargs:
                return ops.subtract(x, y)
            case ((_aten.view.default | _aten._unsafe_view.default), (Tensor() as x, list(shape))):
                return ops.reshape(x, shape)
            case _aten.select.int, (Tensor() as x, int(axis), int(index)):
                chosen = ops.slice(x, axis, index, index + 1)
                return ops.reshape(chosen, (*x.shape[:axis], *x.shape[axis + 1 :]))
        raise LoweringError(
            f"LiteRT signature {ops.graph.name}",
            f"the decoder used {func}, which has no LiteRT form here",
            "express it with the dialect's operations or add it to ArithmeticTracer",
        )
