"""`OnnxVision`: what image towers are made of, as ONNX Runtime's kernels want it.

Positions are the graph's input, int64 [1, patches, 2]. Not about what audio encoders are made of too
(`tower_operators`) or what a graph takes and returns (`vision_trace`).
"""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
import torch
from torch import Tensor

from exporter.lowering.onnx.graph_builder import CONTRIB
from exporter.lowering.onnx.matrix_operators import FLOAT
from exporter.lowering.onnx.tower_operators import TowerOperators
from exporter.lowering.onnx.web_tower_attention import attend_by_head
from exporter.models.vision.spec import CHANNELS

INT64 = 7  # of onnx.TensorProto


@dataclass
class OnnxVision(TowerOperators):
    """Satisfies `VisionDialect` for one trace, of patches of which none is padding. in_browsers: attention
    is computed by plain operators."""

    in_browsers: bool = False
    _turns: dict[float, tuple[Tensor, Tensor]] = field(default_factory=dict)

    def squares(self, pixels: Tensor, weight: str, bias: str, patch: int) -> Tensor:
        # A convolution whose squares do not overlap is a linear, of whichever scheme its matrix has.
        side = pixels.shape[2] // patch
        cut = pixels.reshape(CHANNELS, side, patch, side, patch)
        shape = (side, side, CHANNELS, patch, patch)
        rows = self.graph.op("Transpose", (cut,), shape, {"perm": [1, 3, 0, 2, 4]})
        return self.project(rows.reshape(1, side * side, CHANNELS * patch**2), weight, bias)

    def layer_norm(self, x: Tensor, name: str, eps: float) -> Tensor:
        operands = (x, self.vector(f"{name}.weight"), self.vector(f"{name}.bias"))
        attributes = {"axis": -1, "epsilon": eps, "stash_type": FLOAT}
        return self.graph.op("LayerNormalization", operands, x.shape, attributes, name=name)

    def gelu(self, x: Tensor) -> Tensor:
        return self.graph.op("Gelu", (x,), x.shape, {"approximate": "tanh"})

    def attend(
        self, q: Tensor, k: Tensor, v: Tensor, scale: float, positions: Tensor | None = None
    ) -> Tensor:
        if self.in_browsers:
            return attend_by_head(self.graph, q, k, v, float(scale))
        heads, shape = q.shape[2], (1, q.shape[1], q.shape[2] * q.shape[3])
        q, k, v = (each.reshape(shape) for each in (q, k, v))
        # Without a mask its kernel keeps no scores.
        attributes = {"num_heads": heads, "scale": float(scale)}
        return self.graph.op(f"{CONTRIB}::MultiHeadAttention", (q, k, v), shape, attributes)

    def table(self, name: str) -> Tensor:
        rows = self.matrices[name].shape[0]
        numbers = self.graph.op("Range", self._numbers(0, rows, 1), (rows,), dtype=torch.int64)
        return self.matrices.look_up(self._unsqueeze(numbers, 0), name)

    def mean(self, x: Tensor, axis: int) -> Tensor:
        shape = [side for i, side in enumerate(x.shape) if i != axis]
        axes = self.graph.constant(np.array([axis], np.int64))
        return self.graph.op("ReduceMean", (x, axes), shape, {"keepdims": 0})

    def place(self, positions: Tensor, prefix: str) -> Tensor:
        along, down = (
            self.matrices.look_up(self._at(positions, axis), f"{prefix}.{name}")
            for axis, name in enumerate("xy")
        )
        present = self._cast(self._present(positions), FLOAT, torch.float32)
        return (along + down) * self._unsqueeze(present, 2)

    def rotate(self, x: Tensor, positions: Tensor, theta: float) -> Tensor:
        cos, sin = self._turn(positions, theta, x.shape[3] // 2)
        # (second half, first half) of the half that turns by x, and of the one that turns by y
        quarter = x.shape[3] // 4
        order = np.concatenate([np.arange(quarter) + n * quarter for n in (1, 0, 3, 2)])
        swapped = self.graph.op("Gather", (x, self.graph.constant(order)), x.shape, {"axis": 3})
        return x * cos + swapped * sin

    def pool(self, x: Tensor, positions: Tensor, kernel: int, length: int) -> Tensor:
        # Rows behind the last square are not made: there are as many as whole squares of patches.
        graph, patches = self.graph, positions.shape[1]
        along, down = (
            self._whole("Div", self._at(positions, axis), self._number(kernel)) for axis in (0, 1)
        )
        widest = self._reduced("ReduceMax", self._at(positions, 0))
        in_a_row = self._whole("Div", self._whole("Add", widest, self._number(1)), self._number(kernel))
        square = self._whole("Add", along, self._whole("Mul", down, in_a_row))
        count = self._whole("Div", self.count(positions), self._number(kernel**2))
        operands = (self._number(0), count, self._number(1))
        numbers = graph.op("Range", operands, (length,), dtype=torch.int64)
        pair = (self._unsqueeze(numbers, 0, 2), self._unsqueeze(square, 1))
        hit = graph.op("Equal", pair, (1, length, patches), dtype=torch.bool)
        # What is no patch stands at 0, 0 here.
        present = self._unsqueeze(self._present(positions), 1)
        hit = graph.op("And", (hit, present), (1, length, patches), dtype=torch.bool)
        shares = self._cast(hit, FLOAT, torch.float32) * (1.0 / kernel**2)
        return graph.op("MatMul", (shares, x), (1, length, x.shape[2]))

    def count(self, positions: Tensor) -> Tensor:
        """Patches, int64 []."""
        return self._reduced("ReduceSum", self._cast(self._present(positions), INT64, torch.int64))

    def _turn(self, positions: Tensor, theta: float, half: int) -> tuple[Tensor, Tensor]:
        """What a head and its swapped halves are multiplied with, [1, patches, 1, head_dim]."""
        if theta not in self._turns:
            frequencies = (theta ** (-np.arange(0, half, 2) / half)).astype(np.float32)
            signed = self.graph.constant(np.concatenate([-frequencies, frequencies]))
            angles = []
            for axis in (0, 1):
                at = self._cast(self._axis(positions, axis), FLOAT, torch.float32)
                angles.append(self._unsqueeze(at, 2, 3) * signed)
            shape = (1, positions.shape[1], 1, 2 * half)
            both = self.graph.op("Concat", angles, shape, {"axis": 3})
            self._turns[theta] = self.graph.op("Cos", (both,), shape), self.graph.op("Sin", (both,), shape)
        return self._turns[theta]

    def _axis(self, positions: Tensor, axis: int) -> Tensor:
        """x or y of each patch, int64 [1, patches]."""
        operands = (positions, self._number(axis))
        return self.graph.op("Gather", operands, positions.shape[:2], {"axis": 2}, dtype=torch.int64)

    def _at(self, positions: Tensor, axis: int) -> Tensor:
        """The same, 0 for what is no patch."""
        return self._whole("Max", self._axis(positions, axis), self._number(0))

    def _present(self, positions: Tensor) -> Tensor:
        """bool [1, patches]."""
        operands = (self._axis(positions, 0), self._number(0))
        return self.graph.op("GreaterOrEqual", operands, positions.shape[:2], dtype=torch.bool)

    def _whole(self, kind: str, a: Tensor, b: Tensor) -> Tensor:
        """An operator on integers, the second one of them."""
        return self.graph.op(kind, (a, b), a.shape, dtype=torch.int64)

    def _reduced(self, kind: str, x: Tensor) -> Tensor:
        """Of all numbers, int64 []."""
        return self.graph.op(kind, (x,), (), {"keepdims": 0}, dtype=torch.int64)

    def _numbers(self, *numbers: int) -> tuple[Tensor, ...]:
        return tuple(self._number(n) for n in numbers)
