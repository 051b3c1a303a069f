"""`GraphBuilder`: an ONNX graph that grows while the decoder runs on tensors without memory.

Tensors are torch's, on the meta device. A dialect adds operators by name; the few operations the
decoder does itself (sums, products, reshapes, selections) are seen as torch dispatches them, and one
that is not known here is an error. A dynamic side has, meanwhile, a size no side of a model can have.
Not torch.onnx.export: that takes twenty seconds for 18 layers, this a tenth of one, and the graph
needs no clearing up. Not about any operator's meaning.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Self

import numpy as np
import onnx
import torch
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode

from exporter.errors import LoweringError
from exporter.lowering.onnx.stored_tensors import DataTensor

CONTRIB = "com.microsoft"
OPSETS = {"": 23, CONTRIB: 1}  # 23: the first with RMSNormalization
IR_VERSION = 11  # of onnx 1.18, which brought opset 23
TOKENS, PAST, TOTAL = "sequence_length", "past_sequence_length", "total_sequence_length"
PATCHES, SOFT_TOKENS = "num_patches", "num_soft_tokens"
FRAMES, HALF_FRAMES = "num_frames", "num_half_frames"
IMAGES = "num_images"
# Begins names of operators on whole numbers that count positions or find images, which a browser's runtime
# computes on the processor whatever it computes the rest on.
LENGTHS = "lengths."
EXAMPLE = {  # primes
    TOKENS: 1_000_003,
    PAST: 1_000_033,
    TOTAL: 1_000_037,
    PATCHES: 1_000_039,
    SOFT_TOKENS: 1_000_081,
    FRAMES: 1_000_099,
    HALF_FRAMES: 1_000_117,
}
MOST_NAMED = 1024  # elements of a constant that its name tells; of a larger one, it tells their digest
ELEMENT_TYPES = {
    torch.float32: TensorProto.FLOAT,
    torch.float16: TensorProto.FLOAT16,
    torch.int64: TensorProto.INT64,
    torch.int32: TensorProto.INT32,
    torch.uint8: TensorProto.UINT8,
    torch.bool: TensorProto.BOOL,
}

Sides = Sequence[int | str]
Attributes = Mapping[str, int | float | str | Sequence[int]]
aten = torch.ops.aten


class GraphBuilder(TorchDispatchMode):  # type: ignore[no-untyped-call]  # of torch
    """Records while it is entered. Every tensor it hands out is contiguous and has a value's name."""

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]  # of torch
        self.nodes: list[onnx.NodeProto] = []
        self.inputs: list[onnx.ValueInfoProto] = []
        self.outputs: list[onnx.ValueInfoProto] = []
        self.stored: dict[str, DataTensor] = {}
        self.constants: dict[str, onnx.TensorProto] = {}
        self.functions: dict[str, onnx.FunctionProto] = {}
        # Tensors are kept beside their names: a freed one's id would be given to another.
        self._named: dict[int, tuple[str, Tensor]] = {}
        self._reshaped: dict[str, Tensor] = {}
        self._by_name: dict[str, Tensor] = {}
        self._count = 0

    def input(self, name: str, dtype: torch.dtype, sides: Sides, any_rank: bool = False) -> Tensor:
        """A graph input; a side given by name is dynamic. any_rank: sides before these may be given."""
        said = None if any_rank else sides
        self.inputs.append(helper.make_tensor_value_info(name, ELEMENT_TYPES[dtype], said))
        return self._value(name, [EXAMPLE[s] if isinstance(s, str) else s for s in sides], dtype)

    def output(self, value: Tensor, name: str, sides: Sides) -> None:
        """Make a value, which must not be an input, a graph output of this name."""
        old = self.name_of(value)
        for node in self.nodes:
            for names in (node.input, node.output):
                for i, used in enumerate(names):
                    names[i] = name if used == old else used
        self._named[id(value)] = name, value
        self.outputs.append(helper.make_tensor_value_info(name, ELEMENT_TYPES[value.dtype], sides))

    def inner(self, name: str, dtype: torch.dtype, sides: Sides) -> Tensor:
        """A value that whoever wraps the graph gives (`picture_loop`)."""
        return self._value(name, [EXAMPLE[s] if isinstance(s, str) else s for s in sides], dtype)

    def weight(self, tensor: DataTensor) -> Tensor:
        """A tensor of the data file, as an initializer."""
        if tensor.name not in self.stored:
            self.stored[tensor.name] = tensor
            self._by_name[tensor.name] = self._value(
                tensor.name, tensor.shape, getattr(torch, tensor.dtype)
            )
        elif self.stored[tensor.name] != tensor:
            raise LoweringError(
                tensor.name,
                "is the name of two stored tensors",
                "this is a defect of gemma-export, report it",
            )
        return self._by_name[tensor.name]

    def constant(self, array: NDArray[Any]) -> Tensor:
        """A small tensor kept in the graph itself."""
        sides, elements = ("_".join(map(str, of)) for of in (array.shape, array.reshape(-1).tolist()))
        if array.size > MOST_NAMED:
            elements = hashlib.sha256(array.tobytes()).hexdigest()
        name = f"constant.{array.dtype}[{sides}].{elements}"
        if name not in self.constants:
            self.constants[name] = numpy_helper.from_array(array, name)
            self._by_name[name] = self._value(name, array.shape, getattr(torch, str(array.dtype)))
        return self._by_name[name]

    def op(
        self,
        kind: str,
        inputs: Sequence[Tensor | None],
        shape: Sequence[int],
        attributes: Attributes | None = None,
        *,
        name: str | None = None,
        dtype: torch.dtype = torch.float32,
    ) -> Tensor:
        """Add an operator with one result. kind: "Gemm" or "com.microsoft::MatMulNBits". inputs: None for
        one that is left out."""
        return self.ops(kind, inputs, (shape,), attributes, name=name, dtype=dtype)[0]

    def ops(
        self,
        kind: str,
        inputs: Sequence[Tensor | None],
        shapes: Sequence[Sequence[int]],
        attributes: Attributes | None = None,
        *,
        name: str | None = None,
        dtype: torch.dtype = torch.float32,
    ) -> list[Tensor]:
        """Add an operator with one result per shape, all of one type."""
        domain, _, op_type = kind.rpartition("::")
        self._count += 1
        name = name or f"{op_type}.{self._count}"
        results = [name] if len(shapes) == 1 else [f"{name}.{i}" for i in range(len(shapes))]
        node = helper.make_node(
            op_type,
            ["" if value is None else self.name_of(value) for value in inputs],
            results,
            name=name,
            domain=domain,
            **(attributes or {}),
        )
        self.nodes.append(node)
        return [self._value(result, shape, dtype) for result, shape in zip(results, shapes, strict=True)]

    def function(self, definition: onnx.FunctionProto) -> str:
        """Have the graph bring an operator of its own along; the kind to add it by."""
        self.functions[definition.name] = definition
        return f"{definition.domain}::{definition.name}"

    def name_of(self, value: Tensor) -> str:
        """The graph's name of a tensor."""
        try:
            return self._named[id(value)][0]
        except KeyError as error:
            raise LoweringError(
                "the decoder", "uses a tensor the graph does not know", "make it with the dialect"
            ) from error

    def model(self, initializers: Sequence[onnx.TensorProto]) -> onnx.ModelProto:
        """The graph with these initializers for its weights."""
        graph = helper.make_graph(
            self.nodes, "decoder", self.inputs, self.outputs, [*self.constants.values(), *initializers]
        )
        own = {definition.domain: 1 for definition in self.functions.values()}
        opsets = [helper.make_opsetid(domain, version) for domain, version in (OPSETS | own).items()]
        return helper.make_model(
            graph,
            opset_imports=opsets,
            ir_version=IR_VERSION,
            producer_name="gemma-export",
            functions=list(self.functions.values()),
        )

    def __enter__(self) -> Self:
        super().__enter__()  # type: ignore[no-untyped-call]  # of torch
        return self

    def __torch_dispatch__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: Mapping[str, Any] | None = None
    ) -> Any:
        kwargs = kwargs or {}
        if func is aten.empty.memory_format:
            return func(*args, **kwargs)
        if func not in TRANSLATIONS or kwargs:
            raise LoweringError(
                str(func), "has no translation to ONNX", "add it to exporter/lowering/onnx/graph_builder.py"
            )
        shape = list(func(*args).shape)
        return TRANSLATIONS[func](self, shape, *args)

    def _value(self, name: str, shape: Sequence[int], dtype: torch.dtype) -> Tensor:
        value = torch.empty(list(shape), dtype=dtype, device="meta")
        self._named[id(value)] = name, value
        return value

    def _operand(self, value: Tensor | float) -> Tensor:
        return value if isinstance(value, Tensor) else self.constant(np.array(value, np.float32))

    def _product(self, shape: list[int], a: Tensor, b: Tensor | float) -> Tensor:
        return self.op("Mul", (a, self._operand(b)), shape)

    def _quotient(self, shape: list[int], a: Tensor, b: Tensor | float) -> Tensor:
        return self.op("Div", (a, self._operand(b)), shape)

    def _sum(self, shape: list[int], a: Tensor, b: Tensor | float) -> Tensor:
        return self.op("Add", (a, self._operand(b)), shape)

    def _difference(self, shape: list[int], a: Tensor, b: Tensor | float) -> Tensor:
        return self.op("Sub", (a, self._operand(b)), shape)

    def _tanh(self, shape: list[int], x: Tensor) -> Tensor:
        return self.op("Tanh", (x,), shape)

    def _view(self, shape: list[int], x: Tensor, _: list[int]) -> Tensor:
        x = self._reshaped.get(self.name_of(x), x)  # a reshape of a reshape is one of its source
        if list(x.shape) == shape:
            return self._value(self.name_of(x), shape, x.dtype)
        target = [-1 if side in EXAMPLE.values() else side for side in shape]
        if target.count(-1) > 1:
            raise LoweringError("a reshape", f"has two dynamic sides, {shape}", "keep one at a time")
        y = self.op("Reshape", (x, self.constant(np.array(target, np.int64))), shape, {"allowzero": 0})
        self._reshaped[self.name_of(y)] = x
        return y

    def _slice(self, shape: list[int], x: Tensor, axis: int = 0, *bounds: int | None) -> Tensor:
        if list(x.shape) == shape:
            return self._value(self.name_of(x), shape, x.dtype)
        raise LoweringError("a slice", f"of axis {axis} to {bounds} has no translation", "use the dialect")

    def _select(self, shape: list[int], x: Tensor, axis: int, index: int) -> Tensor:
        return self.op("Gather", (x, self.constant(np.array(index, np.int64))), shape, {"axis": axis})


TRANSLATIONS: dict[Any, Callable[..., Tensor]] = {
    aten.add.Tensor: GraphBuilder._sum,
    aten.div.Tensor: GraphBuilder._quotient,
    aten.mul.Tensor: GraphBuilder._product,
    aten.select.int: GraphBuilder._select,
    aten.slice.Tensor: GraphBuilder._slice,
    aten.sub.Tensor: GraphBuilder._difference,
    aten.tanh.default: GraphBuilder._tanh,
    aten.view.default: GraphBuilder._view,
}
