"""Damage to a Core ML package, in place: what a comparison must notice.

Finds its targets in the written protobuf and weight file by what they look like, with none of the
lowering's code. Not about whether it is noticed: tests decide that.
"""

from __future__ import annotations

import struct
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
from coremltools.proto import Model_pb2
from numpy.typing import NDArray

Fault = Literal["scale", "rope", "mask", "norm"]
FLOAT16 = 10
MASKED = -1e4


@dataclass
class OpenPackage:
    """A package's operations and the bytes behind their constants."""

    model_path: Path
    model: Any

    @property
    def operations(self) -> Any:
        function = self.model.mlProgram.functions["main"]
        return function.block_specializations[function.opset].operations

    def halves(self, value: Any) -> NDArray[np.float16]:
        """A writable view of an fp16 constant in the weight file."""
        weights = self.model_path.parent / value.blobFileValue.fileName.removeprefix("@model_path/")
        with weights.open("rb") as file:
            file.seek(value.blobFileValue.offset)
            _, _, _, start, _ = struct.unpack("<IIQQQ", file.read(32))
        shape = tuple(dimension.constant.size for dimension in value.type.tensorType.dimensions)
        return np.memmap(weights, np.float16, "r+", start, shape)

    def constants(self, rank: int) -> list[NDArray[np.float16]]:
        """fp16 constants of this rank that are neither matrices nor biases, in program order."""
        return [
            self.halves(operation.attributes["val"])
            for operation in self.operations
            if operation.type == "const"
            and operation.attributes["val"].HasField("blobFileValue")
            and operation.attributes["val"].type.tensorType.dataType == FLOAT16
            and operation.attributes["val"].type.tensorType.rank == rank
            and "__" not in operation.outputs[0].name
            and not operation.outputs[0].name.startswith("zero_bias")
        ]


def corrupt(package: Path, fault: Fault) -> None:
    """Change one thing: a scale, a RoPE base, a mask, a norm. Raises LookupError if it is not there."""
    model_path = package / "Data" / "com.apple.CoreML" / "model.mlmodel"
    model = Model_pb2.Model()
    model.ParseFromString(model_path.read_bytes())
    FAULTS[fault](OpenPackage(model_path, model))
    model_path.write_bytes(model.SerializeToString(deterministic=True))


def corrupt_layer(package: Path, layer: int) -> None:
    """A scale of one layer's down projection, 32 times as large. Raises LookupError without one."""
    model_path = package / "Data" / "com.apple.CoreML" / "model.mlmodel"
    model = Model_pb2.Model()
    model.ParseFromString(model_path.read_bytes())
    _scale(OpenPackage(model_path, model), f"layers__{layer}__mlp__down_proj")


def _scale(package: OpenPackage, of: str = "down_proj") -> None:
    """The first scale of the first such projection, 32 times as large."""
    for operation in package.operations:
        if operation.type.startswith("constexpr") and of in operation.outputs[0].name:
            scales = package.halves(operation.inputs["scale"].arguments[0].value)
            scales[0, 0] = min(float(scales[0, 0]) * 32, 6e4)
            return
    raise LookupError("no compressed down projection")


def _rope(package: OpenPackage) -> None:
    """The first RoPE's base, 8 times as large. Tables: [context, head_dim / 2], position 0 turns by 0."""
    tables = package.constants(rank=2)
    cos = next(table for table in tables if (table[0] == 1).all())
    sin = next(table for table in tables if (table[0] == 0).all() and table.shape == cos.shape)
    pairs = cos.shape[1]
    frequencies = np.arctan2(sin[1].astype(np.float64), cos[1].astype(np.float64))
    angles = np.arange(len(cos))[:, None] * (frequencies * 8.0 ** (-np.arange(pairs) / pairs))
    cos[:], sin[:] = np.cos(angles), np.sin(angles)


def _mask(package: OpenPackage) -> None:
    """The first mask no longer masks: causality and window are gone."""
    for operation in package.operations:
        tensor = operation.attributes["val"].immediateValue.tensor if operation.type == "const" else None
        if tensor is not None and tensor.bytes.values == np.float16(MASKED).tobytes():
            tensor.bytes.values = np.float16(0).tobytes()
            return
    raise LookupError("no masked score")


def _norm(package: OpenPackage) -> None:
    """The first norm's gain, back to front."""
    gain = package.constants(rank=1)[0]
    gain[:] = gain[::-1].copy()


FAULTS: dict[Fault, Callable[[OpenPackage], None]] = {
    "scale": _scale,
    "rope": _rope,
    "mask": _mask,
    "norm": _norm,
}
