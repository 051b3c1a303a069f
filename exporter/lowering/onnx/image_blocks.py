"""`ImageBlocks`: which tokens of a call see each other in both directions, as a graph finds it out.

Tokens of one image are a run of marks, numbered by a running sum; what is in the caches is the past's, and
is seen as causality has it. So an image must not reach over the end of a call. A sliding window keeps what
it closes: a query sees no key that is as far back as the window is wide.
Not about where the marks come from (`embedded_traces`) or the operators that attend.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
import torch
from torch import Tensor

from exporter.lowering.onnx.graph_builder import EXAMPLE, LENGTHS, TOTAL, GraphBuilder
from exporter.models.text.spec import LayerSpec
from exporter.models.vision.spec import BlockLayers

CLOSED = -1e9  # added to the score of what is not seen


@dataclass
class ImageBlocks:
    """marks: int64 [1, tokens], 1 for a row of an image, 0 for others. mask: the graph's [1, past +
    tokens]. where: the layers in which it makes a difference."""

    graph: GraphBuilder
    marks: Tensor
    mask: Tensor
    where: BlockLayers
    _biases: dict[int | None, Tensor] = field(default_factory=dict)
    _found: tuple[Tensor, Tensor] | None = None
    _count: int = 0

    def opens(self, layer: LayerSpec) -> bool:
        """Whether tokens of an image see what is ahead of them in this layer."""
        return self.where == "all" or (self.where == "sliding" and layer.window is not None)

    def bias(self, window: int | None) -> Tensor:
        """[1, 1, tokens, past + tokens], 0 where a token sees a key."""
        if window not in self._biases:
            same, back = self._found = self._found or self._same_and_back()
            seen = self._bool("Or", self._bool("GreaterOrEqual", back, self._number(0)), same)
            if window is not None:
                seen = self._bool("And", seen, self._bool("Less", back, self._number(window)))
            open_, closed = (self.graph.constant(np.array(value, np.float32)) for value in (0, CLOSED))
            bias = self._op("Where", (seen, open_, closed), seen.shape, dtype=torch.float32)
            axes = self.graph.constant(np.array([0], np.int64))
            shape = (1, *seen.shape)
            self._biases[window] = self._op("Unsqueeze", (bias, axes), shape, dtype=torch.float32)
        return self._biases[window]

    def _same_and_back(self) -> tuple[Tensor, Tensor]:
        """[1, tokens, past + tokens] each: whether a key is of the token's image, how far back it is."""
        tokens, total = self.marks.shape[1], EXAMPLE[TOTAL]
        every = self._op("Shape", (self.mask,), (1,), {"start": 1, "end": 2})
        given = self._op("Shape", (self.marks,), (1,), {"start": 1, "end": 2})
        past = self._op("Sub", (every, given), (1,))
        number = self._numbered()
        none = self.graph.constant(np.array([0], np.int64))
        pads = self._op("Concat", (none, past, none, none), (4,), {"axis": 0})
        of_keys = self._op("Pad", (number, pads, self._number(0)), (1, total))
        column, row = self._unsqueeze(number, 2), self._unsqueeze(of_keys, 1)
        same = self._bool("Equal", column, row)
        same = self._bool("And", same, self._bool("Greater", column, self._number(0)))
        first, stop = self._scalar(past), self._scalar(every)
        queries = self._op("Range", (first, stop, self._number(1)), (tokens,))
        keys = self._op("Range", (self._number(0), stop, self._number(1)), (total,))
        pair = (self._unsqueeze(queries, 0, 2), self._unsqueeze(keys, 0, 1))
        return same, self._op("Sub", pair, (1, tokens, total))

    def _numbered(self) -> Tensor:
        """[1, tokens]: from 1 on, the run of marks that a token is in; 0 for others."""
        shape = self.marks.shape
        bounds = [self.graph.constant(np.array([n], np.int64)) for n in (0, -1, 1)]
        but_last = self._op("Slice", (self.marks, *bounds), (1, shape[1] - 1))
        nothing = self.graph.constant(np.zeros((1, 1), np.int64))
        before = self._op("Concat", (nothing, but_last), shape, {"axis": 1})
        starts = self._op("Mul", (self.marks, self._op("Sub", (self._number(1), before), shape)), shape)
        count = self._op("CumSum", (starts, self._number(1)), shape)
        return self._op("Mul", (count, self.marks), shape)

    def _op(
        self,
        kind: str,
        operands: Sequence[Tensor],
        shape: Sequence[int],
        attributes: dict[str, int] | None = None,
        dtype: torch.dtype = torch.int64,
    ) -> Tensor:
        self._count += 1
        name = f"{LENGTHS}blocks.{kind}.{self._count}"
        return self.graph.op(kind, operands, shape, attributes, name=name, dtype=dtype)

    def _bool(self, kind: str, a: Tensor, b: Tensor) -> Tensor:
        shape = np.broadcast_shapes(a.shape, b.shape)
        return self._op(kind, (a, b), shape, dtype=torch.bool)

    def _scalar(self, x: Tensor) -> Tensor:
        return self._op("Squeeze", (x,), ())

    def _unsqueeze(self, x: Tensor, *axes: int) -> Tensor:
        shape = list(x.shape)
        for axis in axes:
            shape.insert(axis, 1)
        return self._op("Unsqueeze", (x, self.graph.constant(np.array(axes, np.int64))), shape)

    def _number(self, n: int) -> Tensor:
        return self.graph.constant(np.array(n, np.int64))
