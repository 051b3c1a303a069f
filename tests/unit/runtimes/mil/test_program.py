"""What a program is refused for, before or while it runs: each damage to a sound package, one error."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from runtimes.errors import ArtifactError
from runtimes.mil.execution import Execution
from runtimes.mil.operations.table import OPERATIONS
from tests.parity.mil_packages import edit, edit_model, operation

FLOAT32, STRING = 11, 2


def _rename_operation(block: Any) -> None:
    operation(block, "linear").type = "linear_with_a_twist"


def _add_input(block: Any) -> None:
    linear = operation(block, "linear")
    linear.inputs["scale"].CopyFrom(linear.inputs["x"])


def _drop_input(block: Any) -> None:
    del operation(block, "linear").inputs["weight"]


def _two_values(block: Any) -> None:
    inputs = operation(block, "linear").inputs
    inputs["x"].arguments.append(inputs["x"].arguments[0])


def _add_attribute(block: Any) -> None:
    attributes = operation(block, "linear").attributes
    attributes["mode"].CopyFrom(attributes["name"])


def _name_nothing(block: Any) -> None:
    operation(block, "linear").inputs["x"].arguments[0].name = "nothing"


def _name_a_later_value(block: Any) -> None:
    operation(block, "add").inputs["x"].arguments[0].name = "logits"


def _name_a_state(block: Any) -> None:
    operation(block, "squeeze").inputs["x"].arguments[0].name = "keyCache"


def _declare_twice(block: Any) -> None:
    operation(block, "linear").outputs[0].name = operation(block, "add").outputs[0].name


def _declare_another_type(block: Any) -> None:
    operation(block, "linear").outputs[0].type.tensorType.dataType = FLOAT32


def _mix_types(block: Any) -> None:
    operation(block, "add").inputs["y"].arguments[0].name = "inputIds"


def _write_another_type(block: Any) -> None:
    operation(block, "write_state").inputs["data"].arguments[0].name = "inputIds"


def _return_nothing(block: Any) -> None:
    block.outputs[0] = "nothing"


def _cast_to_nothing(block: Any) -> None:
    cast = operation(block, "cast")
    cast.inputs["dtype"].CopyFrom(cast.inputs["x"])


@pytest.mark.parametrize(
    ("damage", "what"),
    [
        (_rename_operation, "operation 'linear_with_a_twist' is not one this evaluator knows"),
        (_add_input, "linear → logits: unknown input 'scale'"),
        (_drop_input, "linear → logits: input 'weight' is missing"),
        (_two_values, "linear → logits: input 'x' has 2 values"),
        (_add_attribute, "linear → logits: unknown attribute 'mode'"),
        (_name_nothing, "'x' refers to 'nothing', which nothing before it makes"),
        (_name_a_later_value, "'x' refers to 'logits', which nothing before it makes"),
        (_name_a_state, "the state 'keyCache' is used without read_state"),
        (_declare_twice, "is already the name of a value"),
        (_declare_another_type, "'logits' is declared float32.*, not FLOAT16"),
        (_mix_types, "x and y have types"),
        (_write_another_type, "'inputIds', int32.*, into 'keyCache'"),
        (_return_nothing, "no operation makes the output 'nothing'"),
        (_cast_to_nothing, "does not name an element type"),
    ],
)
def test_an_unsound_program_is_refused_when_it_is_opened(
    damaged: Path, damage: Callable[[Any], None], what: str
) -> None:
    edit(damaged, damage)
    with pytest.raises(ArtifactError, match=what) as caught:
        Execution.open(damaged, "fp32")
    assert str(damaged) in str(caught.value)


def test_a_result_of_another_shape_than_declared_is_refused(damaged: Path) -> None:
    def lie(block: Any) -> None:
        dimensions = operation(block, "linear").outputs[0].type.tensorType.dimensions
        dimensions[-1].constant.size += 1

    edit(damaged, lie)
    execution = Execution.open(damaged, "fp32")
    with pytest.raises(ArtifactError, match=r"linear → logits: declared float16\[1, \?, 12\]"):
        execution.run(_inputs())


def test_arguments_that_do_not_fit_are_refused_with_the_operation(damaged: Path) -> None:
    def swap(block: Any) -> None:
        matmul = operation(block, "matmul").inputs
        x = matmul["x"].arguments[0].name
        matmul["x"].arguments[0].name = matmul["y"].arguments[0].name
        matmul["y"].arguments[0].name = x

    edit(damaged, swap)
    with pytest.raises(ArtifactError, match="matmul → matmul_0: "):
        Execution.open(damaged, "fp32").run(_inputs())


@pytest.mark.parametrize("size", [1 << 50, 1 << 62])
def test_a_state_larger_than_memory_is_refused(damaged: Path, size: int) -> None:
    def grow(model: Any) -> None:
        for state in model.mlProgram.functions["main"].inputs:
            if state.type.WhichOneof("type") == "stateType":
                tensor = state.type.stateType.wrappedType.tensorType
                tensor.dimensions[0].constant.size = size
        for step in model.mlProgram.functions["main"].block_specializations["CoreML8"].operations:
            for output in step.outputs:
                if output.name in _STATE_VALUES:
                    output.type.tensorType.dimensions[0].constant.size = size

    edit_model(damaged, grow)
    with pytest.raises(ArtifactError, match="a state cannot be made"):
        Execution.open(damaged, "fp32")


_STATE_VALUES = ("read_state_0", "slice_update_0", "coreml_update_state_0")


def test_another_function_than_the_package_has_is_refused(language_model: Path) -> None:
    with pytest.raises(ArtifactError, match=r"no function 'prefill'; it has \['main'\]"):
        Execution.open(language_model, "fp32", function="prefill")


def test_another_operation_set_is_refused(damaged: Path) -> None:
    def rename(model: Any) -> None:
        function = model.mlProgram.functions["main"]
        blocks = function.block_specializations
        blocks["CoreML7"].CopyFrom(blocks["CoreML8"])
        function.opset = "CoreML7"

    edit_model(damaged, rename)
    with pytest.raises(ArtifactError, match="operation set 'CoreML7'"):
        Execution.open(damaged, "fp32")


def test_only_operations_that_may_alias_return_their_input() -> None:
    x = np.ones((1, 2, 2), np.float32)
    for name, entry in OPERATIONS.items():
        if entry.required == {"x"} and not entry.may_alias:
            given = x.astype(np.bool_) if name == "logical_not" else x
            result = entry.function(given)
            assert not np.shares_memory(result, given), name


def _inputs() -> dict[str, Any]:
    return {
        "inputIds": np.array([[1, 2]], np.int32),
        "causalMask": np.zeros((1, 1, 2, 2), np.float32),
    }
