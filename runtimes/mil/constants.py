"""The constants of a program: from messages and weight files to values operations can take.

Not about when they are decoded: large float constants and compressed ones come out as `Weight`.
"""

from __future__ import annotations

import numpy as np

from runtimes.errors import ArtifactError
from runtimes.mil.arithmetic import HalfRounding
from runtimes.mil.blobs import BlobFiles
from runtimes.mil.constexpr import BlockwiseDecoder
from runtimes.mil.messages import Binding, BlobReference, Bytes, OperationMessage, Value
from runtimes.mil.payloads import Elements
from runtimes.mil.tensor_types import FILE_DTYPE, FLOATING, Array, DataType, TensorType
from runtimes.mil.weight_memory import Decoder, PlainDecoder, Weight, WeightMemory

Constant = Array | str | Weight

WEIGHT_ELEMENTS = 1 << 14  # a float constant in a weight file of this size or more is a `Weight`
BLOCKWISE = "constexpr_blockwise_shift_scale"


class Constants:
    """Constants by name, made once each.

    rounding: None in fp32 arithmetic, where dequantised values stay as codes and scales give them.
    """

    def __init__(
        self, source: str, files: BlobFiles, memory: WeightMemory, rounding: HalfRounding | None
    ) -> None:
        self._source = source
        self._files = files
        self._memory = memory
        self._rounding = rounding
        self._plain: dict[str, Value] = {}
        self._weights: dict[str, tuple[TensorType, Weight]] = {}
        self._made: dict[str, Constant] = {}

    def __contains__(self, name: str) -> bool:
        return name in self._plain or name in self._weights

    def declare(self, name: str, value: Value) -> None:
        """A `const` operation's result."""
        self._plain[name] = value

    def declare_blockwise(self, operation: OperationMessage) -> None:
        """A `constexpr_blockwise_shift_scale` operation's result.

        Raises ArtifactError for other inputs than the operation has, or parts that do not fit.
        """
        where = f"{self._source}: {operation.label}"
        if unknown := sorted(set(operation.inputs) - {"data", "scale", "offset"}):
            raise ArtifactError(f"{where}: unknown input {unknown[0]!r}")
        if missing := sorted({"data", "scale"} - set(operation.inputs)):
            raise ArtifactError(f"{where}: input {missing[0]!r} is missing")
        if len(operation.outputs) != 1:
            raise ArtifactError(f"{where}: {len(operation.outputs)} results")
        parts = {key: self._elements(where, key, got) for key, got in operation.inputs.items()}
        declared = operation.outputs[0].type
        decoder = BlockwiseDecoder(parts["data"], parts["scale"], parts.get("offset"))
        if declared != TensorType(parts["scale"].type.dtype, decoder.shape):
            raise ArtifactError(
                f"{where}: declared {declared}, its codes {parts['data'].type} and scales "
                f"{parts['scale'].type} do not make that"
            )
        name = operation.outputs[0].name
        self._weights[name] = (declared, self._weight(decoder, declared))

    def type_of(self, name: str) -> TensorType:
        return self._plain[name].type if name in self._plain else self._weights[name][0]

    def value(self, name: str) -> Constant:
        """The constant of a name, for use as an operation's argument."""
        if name in self._weights:
            return self._weights[name][1]
        if name not in self._made:
            self._made[name] = self.literal(name, self._plain[name])
        return self._made[name]

    def literal(self, name: str, value: Value) -> Constant:
        """A constant that is written where it is used, or that `name` stands for."""
        if isinstance(value.payload, str | np.ndarray):
            return value.payload
        elements = self._value_elements(name, value)
        if (
            isinstance(value.payload, BlobReference)
            and value.type.dtype in FLOATING
            and value.type.shape
            and value.type.elements >= WEIGHT_ELEMENTS
        ):
            return self._weight(PlainDecoder(elements), value.type)
        constant = elements.all()
        constant.flags.writeable = False
        return constant

    def _weight(self, decoder: Decoder, declared: TensorType) -> Weight:
        rounds = self._rounding is not None and declared.dtype is DataType.FLOAT16
        plain = isinstance(decoder, PlainDecoder)  # stored fp16: nothing to round
        return Weight(decoder, self._memory, self._rounding if rounds and not plain else None)

    def _elements(self, where: str, key: str, bindings: tuple[Binding, ...]) -> Elements:
        binding = bindings[0] if len(bindings) == 1 else None
        if isinstance(binding, str):
            binding = self._plain.get(binding)
        if binding is None:
            raise ArtifactError(f"{where}: input {key!r} is not one constant of the program")
        return self._value_elements(f"{where}: {key}", binding)

    def _value_elements(self, name: str, value: Value) -> Elements:
        source = name if name.startswith(self._source) else f"{self._source}: constant {name}"
        match value.payload:
            case BlobReference():
                data = self._files.payload(value.payload, value.type.dtype)
            case Bytes():
                data = value.payload.data
            case np.ndarray():
                stored = value.payload.astype(FILE_DTYPE[value.type.dtype])
                data = memoryview(stored.tobytes())
            case str():
                raise ArtifactError(f"{source}: a string where numbers belong; export again")
        return Elements(value.type, data, source)
