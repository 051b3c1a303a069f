"""A function of a package made ready to run: names resolved, types compared, storage planned.

Everything that can be refused before the first token is refused here: operations, inputs and
attributes the evaluator does not know, names without a value, results declared with another element
type than the operation gives. How steps are executed is in `execution`.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

from runtimes.errors import ArtifactError
from runtimes.excerpt import plain_excerpt
from runtimes.mil.constants import BLOCKWISE, Constant, Constants
from runtimes.mil.lifetimes import plan_lifetimes
from runtimes.mil.messages import Binding, Block, OperationMessage, ProgramFunction, Value
from runtimes.mil.model_file import Interface
from runtimes.mil.operations.table import LISTS, OPERATIONS
from runtimes.mil.package import Package
from runtimes.mil.steps import Compute, ReadState, Step, WriteState
from runtimes.mil.tensor_types import DataType, TensorType
from runtimes.mil.weight_memory import Weight

OPSET = "CoreML8"  # iOS 18's operations, what the signatures in `operations` are of


@dataclass(frozen=True)
class Program:
    """source: how errors name the program. inputs, states, outputs: by name, with their types.

    interface: what the package says an application may pass in.
    """

    source: str
    interface: Interface
    inputs: dict[str, TensorType]
    states: dict[str, TensorType]
    outputs: dict[str, TensorType]
    steps: tuple[Step, ...]


def build_program(
    package: Package, function: str | None, constants: Constants, watched: Sequence[str] = ()
) -> Program:
    """Resolve one function (the default one for None) of a package. watched: values to return beside the
    outputs.

    Raises ArtifactError naming the package, the operation and what it does not fit.
    """
    source = str(package.path)
    name = function or package.model.default_function or "main"
    body = package.model.functions.get(name)
    interface = package.model.interfaces.get(name, package.model.interfaces.get(""))
    if body is None or interface is None:
        raise ArtifactError(f"{source}: no function {name!r}; it has {sorted(package.model.functions)}")
    if body.opset != OPSET or body.opset not in body.blocks:
        raise ArtifactError(
            f"{source}: operation set {body.opset!r}, this evaluator runs {OPSET}; export again"
        )
    try:
        return _Builder(source, body, constants).program(interface, body.blocks[body.opset], watched)
    except (ArithmeticError, LookupError, MemoryError, TypeError, ValueError) as error:
        # Shapes and values of a damaged program contradict each other in more ways than can be listed.
        reason = plain_excerpt(error)
        raise ArtifactError(f"{source}: the program contradicts itself ({reason}); export again") from error


class _Builder:
    """Walks a block once, knowing of every name what it stands for."""

    def __init__(self, source: str, function: ProgramFunction, constants: Constants) -> None:
        self._source = source
        self._constants = constants
        self._inputs = {i.name: i.type for i in function.inputs if not i.is_state}
        self._states = {i.name: i.type for i in function.inputs if i.is_state}
        self._types = dict(self._inputs)

    def program(self, interface: Interface, block: Block, watched: Sequence[str]) -> Program:
        steps = [step for operation in block.operations for step in self._step(operation)]
        outputs: dict[str, TensorType] = {}
        for name in (*block.outputs, *watched):
            if name not in self._types:
                raise ArtifactError(f"{self._source}: no operation makes the output {name!r}")
            outputs[name] = self._types[name]
        return Program(
            self._source,
            interface,
            self._inputs,
            self._states,
            outputs,
            plan_lifetimes(steps, frozenset(outputs)),
        )

    def _step(self, operation: OperationMessage) -> Iterator[Step]:
        for output in operation.outputs:
            if output.name in self._types or output.name in self._constants:
                raise self._error(operation, f"{output.name!r} is already the name of a value")
        allowed = {"name", "val"} if operation.type == "const" else {"name"}
        if unknown := sorted(set(operation.attributes) - allowed):
            raise self._error(operation, f"unknown attribute {unknown[0]!r}")
        match operation.type:
            case "const":
                self._constant(operation)
            case "constexpr_blockwise_shift_scale":
                self._constants.declare_blockwise(operation)
            case "read_state":
                yield self._read_state(operation)
            case "write_state":
                yield self._write_state(operation)
            case _:
                yield self._compute(operation)
        if operation.type not in ("const", BLOCKWISE):
            self._types |= {output.name: output.type for output in operation.outputs}

    def _constant(self, operation: OperationMessage) -> None:
        value = operation.attributes.get("val")
        if value is None or operation.inputs or len(operation.outputs) != 1:
            raise self._error(operation, "a constant is one value and one output")
        if value.type != operation.outputs[0].type:
            raise self._error(operation, f"declared {operation.outputs[0].type}, its value is {value.type}")
        self._constants.declare(operation.outputs[0].name, value)

    def _read_state(self, operation: OperationMessage) -> ReadState:
        state = self._only(operation, "input")
        if set(operation.inputs) != {"input"} or len(operation.outputs) != 1:
            raise self._error(operation, "reading a state takes one input and gives one output")
        if self._states.get(state) != operation.outputs[0].type:
            raise self._error(
                operation, f"declared {operation.outputs[0].type}, {state!r} is {self._states.get(state)}"
            )
        return ReadState(state, operation.outputs[0])

    def _write_state(self, operation: OperationMessage) -> WriteState:
        state, value = self._only(operation, "input"), self._only(operation, "data")
        if set(operation.inputs) != {"input", "data"} or operation.outputs:
            raise self._error(operation, "writing a state takes two inputs and gives no output")
        if state not in self._states or self._types.get(value) != self._states[state]:
            raise self._error(
                operation,
                f"{value!r}, {self._types.get(value)}, into {state!r}, {self._states.get(state)}",
            )
        return WriteState(state, value)

    def _compute(self, message: OperationMessage) -> Compute:
        operation = OPERATIONS.get(message.type)
        if operation is None:
            raise ArtifactError(
                f"{self._source}: operation {message.type!r} is not one this evaluator knows "
                f"({message.label}); see runtimes/mil/operations/table.py"
            )
        names = set(message.inputs)
        if unknown := sorted(names - operation.required - operation.optional):
            raise self._error(message, f"unknown input {unknown[0]!r}")
        if missing := sorted(operation.required - names):
            raise self._error(message, f"input {missing[0]!r} is missing")
        types: dict[str, tuple[DataType, ...]] = {}
        step = Compute(message.label, operation, {}, (), (), (), message.outputs)
        for key, bindings in message.inputs.items():
            arguments = [self._argument(message, key, binding) for binding in bindings]
            types[key] = tuple(kind for kind, _ in arguments)
            step = _bind(step, key, [value for _, value in arguments])
            if not arguments or (len(arguments) > 1 and key not in LISTS):
                raise self._error(message, f"input {key!r} has {len(arguments)} values")
        try:
            kind = operation.result(types, step.fixed)
        except ValueError as error:
            raise self._error(message, str(error)) from error
        for output in message.outputs:
            if output.type.dtype is not kind:
                raise self._error(message, f"{output.name!r} is declared {output.type}, not {kind.name}")
        return step

    def _argument(
        self, message: OperationMessage, key: str, binding: Binding
    ) -> tuple[DataType, str | _Fixed]:
        if isinstance(binding, Value):
            name = f"{message.label}: {key}"
            return binding.type.dtype, _Fixed(self._constants.literal(name, binding))
        if binding in self._types:
            return self._types[binding].dtype, binding
        if binding in self._constants:
            return self._constants.type_of(binding).dtype, _Fixed(self._constants.value(binding))
        if binding in self._states:
            raise self._error(message, f"the state {binding!r} is used without read_state")
        raise self._error(message, f"{key!r} refers to {binding!r}, which nothing before it makes")

    def _only(self, operation: OperationMessage, key: str) -> str:
        bindings = operation.inputs.get(key, ())
        if len(bindings) != 1 or not isinstance(bindings[0], str):
            raise self._error(operation, f"input {key!r} is not the name of one value")
        return bindings[0]

    def _error(self, operation: OperationMessage, what: str) -> ArtifactError:
        return ArtifactError(f"{self._source}: {operation.label}: {what}; export again")


@dataclass(frozen=True)
class _Fixed:
    """A constant argument; told apart from the name of a value."""

    constant: Constant


def _bind(step: Compute, key: str, values: list[str | _Fixed]) -> Compute:
    if key in LISTS:
        items = tuple(_item(value) for value in values)
        return replace(step, lists=(*step.lists, (key, items)))
    value = values[0] if values else ""
    if isinstance(value, str):
        return replace(step, variable=(*step.variable, (key, value)))
    if isinstance(value.constant, Weight) and key not in step.operation.undecoded:
        return replace(step, decoded=(*step.decoded, (key, value.constant)))
    return replace(step, fixed={**step.fixed, key: value.constant})


def _item(value: str | _Fixed) -> object:
    if isinstance(value, str):
        return value
    return value.constant.dense() if isinstance(value.constant, Weight) else value.constant
