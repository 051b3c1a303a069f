"""A LiteRT model under construction: buffers, operators and one subgraph per signature.

Values are torch tensors on the meta device: torch carries their shapes, this module their places in
the flatbuffer. Not about what an operation computes (`operations`) or the file (`writing`).
Schema: `ai_edge_litert.schema_py_generated` (tflite schema version 3).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from ai_edge_litert import schema_py_generated as schema
from numpy.typing import NDArray
from torch import Tensor

from exporter.errors import LoweringError

SCHEMA_VERSION = 3
TENSOR_TYPES: dict[torch.dtype, int] = {
    torch.float16: schema.TensorType.FLOAT16,
    torch.float32: schema.TensorType.FLOAT32,
    torch.int32: schema.TensorType.INT32,
    torch.bool: schema.TensorType.BOOL,
}
NUMPY_TYPES: dict[np.dtype[Any], torch.dtype] = {
    np.dtype(np.float32): torch.float32,
    np.dtype(np.int32): torch.int32,
}


@dataclass
class ModelBuilder:
    """The whole model. Buffers and operator codes are shared by its subgraphs."""

    model: Any = field(default_factory=schema.ModelT)
    _buffers: dict[bytes, int] = field(default_factory=dict)
    _operators: dict[int, int] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.model.version = SCHEMA_VERSION
        self.model.description = "gemma-export"
        # Buffer 0 is empty by convention: every tensor without data points at it.
        self.model.buffers = [schema.BufferT()]
        self.model.operatorCodes, self.model.subgraphs, self.model.signatureDefs = [], [], []

    def constant_buffer(self, data: bytes) -> int:
        """Index of the buffer with these bytes; equal constants are stored once."""
        if data not in self._buffers:
            buffer = schema.BufferT()
            buffer.data = np.frombuffer(data, np.uint8)
            self._buffers[data] = self._append(buffer)
        return self._buffers[data]

    def external_buffer(self, nbytes: int) -> int:
        """Index of a buffer whose bytes lie behind the flatbuffer; `writing` decides where."""
        buffer = schema.BufferT()
        buffer.size = nbytes
        return self._append(buffer)

    def operator_code(self, operator: int, version: int) -> int:
        """Index of a builtin operator's code."""
        if operator not in self._operators:
            code = schema.OperatorCodeT()
            code.builtinCode, code.version = operator, version
            # Readers older than schema 3a know the one-byte code, 127 for those that came later.
            code.deprecatedBuiltinCode = min(operator, 127)
            self.model.operatorCodes.append(code)
            self._operators[operator] = len(self.model.operatorCodes) - 1
        return self._operators[operator]

    def _append(self, buffer: Any) -> int:
        self.model.buffers.append(buffer)
        return len(self.model.buffers) - 1


@dataclass
class SubgraphBuilder:
    """One signature's subgraph. Use it, then `finish` it."""

    parent: ModelBuilder
    name: str
    subgraph: Any = field(default_factory=schema.SubGraphT)
    _places: dict[int, int] = field(default_factory=dict)  # id of a value to its tensor
    _values: list[Tensor] = field(default_factory=list)  # keeps those ids from being reused
    _constants: dict[tuple[int, tuple[int, ...], int], Tensor] = field(default_factory=dict)
    _inputs: dict[str, Tensor] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.subgraph.name = self.name
        self.subgraph.tensors, self.subgraph.operators = [], []

    def place(self, value: Tensor) -> int:
        """Tensor index of a value. Raises LoweringError for a value this subgraph did not make."""
        if id(value) not in self._places:
            raise LoweringError(
                f"LiteRT signature {self.name}",
                f"a value of shape {list(value.shape)} was made outside the graph",
                "express it with the dialect's operations",
            )
        return self._places[id(value)]

    def input(self, name: str, shape: Sequence[int], dtype: torch.dtype) -> Tensor:
        """A named input of the signature."""
        value = self._value(shape, dtype, f"{self.name}_{name}", 0)
        self._inputs[name] = value
        return value

    def constant(self, array: NDArray[Any], name: str = "") -> Tensor:
        """A constant, once per subgraph and content. `name` is the first asker's."""
        dtype = NUMPY_TYPES[array.dtype]
        buffer = self.parent.constant_buffer(np.ascontiguousarray(array).tobytes())
        key = (buffer, array.shape, TENSOR_TYPES[dtype])
        if key not in self._constants:
            self._constants[key] = self._value(array.shape, dtype, name, buffer)
        return self._constants[key]

    def tensor(self, tensor: Any) -> int:
        """Append a finished schema tensor; returns its index."""
        self.subgraph.tensors.append(tensor)
        return len(self.subgraph.tensors) - 1

    def adopt(self, index: int, shape: Sequence[int], dtype: torch.dtype) -> Tensor:
        """A value that stands for a tensor already appended."""
        value = torch.empty(tuple(shape), dtype=dtype, device="meta")
        self._values.append(value)
        self._places[id(value)] = index
        return value

    def emit(
        self,
        operator: int,
        inputs: Sequence[Tensor | None],
        shape: Sequence[int],
        *,
        options: Any = None,
        version: int = 1,
        dtype: torch.dtype = torch.float32,
    ) -> Tensor:
        """Append an operator with one result. options: a schema `<Name>OptionsT`, or None."""
        result = self._value(shape, dtype, "", 0)
        node = schema.OperatorT()
        node.opcodeIndex = self.parent.operator_code(operator, version)
        node.inputs = np.array([-1 if v is None else self.place(v) for v in inputs], np.int32)
        node.outputs = np.array([self.place(result)], np.int32)
        if options is not None:
            node.builtinOptionsType = getattr(schema.BuiltinOptions, type(options).__name__[:-1])
            node.builtinOptions = options
        self.subgraph.operators.append(node)
        return result

    def finish(self, outputs: dict[str, Tensor]) -> None:
        """Add subgraph and signature to the model, without operators no output depends on."""
        self._drop_unused([self.place(value) for value in outputs.values()])
        model, subgraph = self.parent.model, self.subgraph
        subgraph.inputs = np.array([self.place(value) for value in self._inputs.values()], np.int32)
        subgraph.outputs = np.array([self.place(value) for value in outputs.values()], np.int32)
        signature = schema.SignatureDefT()
        signature.signatureKey, signature.subgraphIndex = self.name, len(model.subgraphs)
        signature.inputs = [self._named(name, value) for name, value in self._inputs.items()]
        signature.outputs = [self._named(name, value) for name, value in outputs.items()]
        model.subgraphs.append(subgraph)
        model.signatureDefs.append(signature)

    def _value(self, shape: Sequence[int], dtype: torch.dtype, name: str, buffer: int) -> Tensor:
        tensor = schema.TensorT()
        tensor.shape, tensor.type = np.array(shape, np.int32), TENSOR_TYPES[dtype]
        tensor.buffer, tensor.hasRank = buffer, True
        tensor.name = name or f"t{len(self.subgraph.tensors)}"
        return self.adopt(self.tensor(tensor), shape, dtype)

    def _named(self, name: str, value: Tensor) -> Any:
        entry = schema.TensorMapT()
        entry.name, entry.tensorIndex = name, self.place(value)
        return entry

    def _drop_unused(self, outputs: Sequence[int]) -> None:
        """Drop operators whose results nobody reads, and tensors nobody names."""
        wanted, kept = set(outputs), []
        for node in reversed(self.subgraph.operators):
            if wanted.intersection(node.outputs.tolist()):
                wanted.update(index for index in node.inputs.tolist() if index >= 0)
                kept.append(node)
        self.subgraph.operators = kept[::-1]
        wanted.update(self.place(value) for value in self._inputs.values())
        moved = keep_tensors(self.subgraph, wanted)
        self._places = {value: moved[old] for value, old in self._places.items() if old in moved}


def keep_tensors(subgraph: Any, wanted: set[int]) -> dict[int, int]:
    """Drop a subgraph's other tensors and renumber its operators; returns old index to new.

    Tensors that hold a kept tensor's block scales are kept too. The caller renumbers what else names
    tensors: subgraph and signature inputs and outputs.
    """
    tensors = subgraph.tensors
    wanted = wanted | {scales for index in wanted if (scales := scales_of(tensors[index])) is not None}
    moved = {old: new for new, old in enumerate(sorted(wanted))}
    subgraph.tensors = [tensors[old] for old in sorted(wanted)]
    for tensor in subgraph.tensors:
        if (scales := scales_of(tensor)) is not None:
            tensor.quantization.details.scales = moved[scales]
    for node in subgraph.operators:
        node.inputs = np.array([moved.get(i, -1) for i in node.inputs.tolist()], np.int32)
        node.outputs = np.array([moved[i] for i in node.outputs.tolist()], np.int32)
    return moved


def scales_of(tensor: Any) -> int | None:
    """Index of the tensor that holds a block-quantised tensor's scales."""
    quantization = tensor.quantization
    if quantization is None or quantization.detailsType != schema.QuantizationDetails.BlockwiseQuantization:
        return None
    scales: int = quantization.details.scales
    return scales
