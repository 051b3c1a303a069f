"""Damage to an ONNX artifact, in place: what a comparison must notice.

Finds its targets in the written graph by operator and name, with none of the lowering's code. Not about
whether it is noticed: tests decide that.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import helper

Fault = Literal["scale", "rope", "mask", "norm"]


@dataclass
class OpenGraph:
    """A graph and the bytes behind its initializers."""

    path: Path
    model: onnx.ModelProto

    def nodes(self, *op_types: str) -> list[onnx.NodeProto]:
        return [node for node in self.model.graph.node if node.op_type in op_types]

    def data(self, name: str) -> NDArray[Any]:
        """A writable view of an initializer in the data file."""
        (tensor,) = (each for each in self.model.graph.initializer if each.name == name)
        place = {entry.key: entry.value for entry in tensor.external_data}
        kind = helper.tensor_dtype_to_np_dtype(tensor.data_type)
        file = self.path.with_name(place["location"])
        return np.memmap(file, kind, "r+", int(place["offset"]), tuple(tensor.dims))


def corrupt(path: Path, fault: Fault) -> None:
    """Change one thing: a scale, a RoPE base, a mask, a norm. Raises LookupError if it is not there."""
    graph = OpenGraph(path, onnx.load(str(path), load_external_data=False))
    FAULTS[fault](graph)
    path.write_bytes(graph.model.SerializeToString(deterministic=True))


def corrupt_layer(path: Path, layer: int) -> None:
    """A scale of one layer's down projection, 32 times as large. Raises LookupError without one."""
    _scale(
        OpenGraph(path, onnx.load(str(path), load_external_data=False)),
        f"model.layers.{layer}.mlp.down_proj",
    )


def _scale(graph: OpenGraph, of: str = "down_proj") -> None:
    """The scale of the first such projection's first row, 32 times as large."""
    for node in graph.nodes("MatMulNBits", "MatMulHalves"):
        if of in node.name:
            graph.data(node.input[2])[0] *= 32  # every block of the row, where they share a scale
            return
    raise LookupError("no integer down projection")


def _rope(graph: OpenGraph) -> None:
    """The first layer's RoPE base, 8 times as large. Tables: [context, head_dim / 2]."""
    turn = graph.nodes("GroupQueryAttention", "PositionsTurned")[0]
    cos, sin = (graph.data(name) for name in turn.input if name.startswith("rope."))
    pairs = cos.shape[1]
    step = np.arctan2(sin[1], cos[1]) * 8.0 ** (-np.arange(pairs) / pairs)  # radians a position
    angles = np.arange(len(cos))[:, None] * step
    cos[:], sin[:] = np.cos(angles), np.sin(angles)


def _mask(graph: OpenGraph) -> None:
    """The first window, a quarter as long."""
    for node in graph.nodes("GroupQueryAttention", "SeenPositions"):
        for attribute in node.attribute:
            if attribute.name == "local_window_size" and attribute.i > 0:
                attribute.i //= 4
                return
            if attribute.name == "window" and node.name != "seen.all":
                attribute.f = (attribute.f + 1) // 4 - 1
                return
    raise LookupError("no sliding layer")


def _norm(graph: OpenGraph) -> None:
    """The first norm's gain, half as large in half of its width."""
    gain = graph.data(graph.nodes("RMSNormalization")[0].input[1])
    gain[: len(gain) // 2] *= 0.5


FAULTS: dict[Fault, Callable[[OpenGraph], None]] = {
    "scale": _scale,
    "rope": _rope,
    "mask": _mask,
    "norm": _norm,
}
