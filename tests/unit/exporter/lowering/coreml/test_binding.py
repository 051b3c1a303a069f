from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from exporter.errors import LoweringError
from exporter.lowering.coreml.binding import bind
from exporter.lowering.coreml.quiet import quietly
from exporter.lowering.coreml.traced_program import ConvertedProgram, slot_name, weight_name
from exporter.quantization.store.checkpoint import Matrix
from exporter.schemes import INT4_G32, INT8_CHANNEL
from tests.parity.coreml_packages import Case, quantized, two_layers
from tests.tiny import RandomSource

with quietly():
    from coremltools.proto import Model_pb2

NAME = "model.layers.0.mlp.up_proj.weight"
SLOT = "model__layers__0__mlp__up_proj__weight"


@pytest.fixture
def matrix(tmp_path: Path) -> Matrix:
    case = Case(two_layers(), INT4_G32, INT8_CHANNEL)
    return quantized(RandomSource(case.config), case, tmp_path / "quantized").matrices[NAME]


def program(consumer: str, name: str) -> ConvertedProgram:
    """One operation with the weight as an input, as the converter leaves it."""
    model = Model_pb2.Model()
    for entry in ("inputIds", SLOT):
        model.description.input.add().name = entry
    function = model.mlProgram.functions["main"]
    function.opset = "CoreML8"
    for entry in ("x", SLOT):
        function.inputs.add().name = entry
    block = function.block_specializations[function.opset]
    operation = block.operations.add()
    operation.type = consumer
    operation.inputs["x"].arguments.add().name = "x"
    operation.inputs[name].arguments.add().name = SLOT
    for flag in ("transpose_x", "transpose_y"):
        operation.inputs[flag].arguments.add().name = flag
    operation.outputs.add().name = "logits"
    block.outputs.append("logits")
    return ConvertedProgram(model, Path("unused"), None)


def operations(bound: ConvertedProgram) -> list[Any]:
    function = bound.model.mlProgram.functions["main"]
    return list(function.block_specializations[function.opset].operations)


def test_a_matmul_with_a_weight_becomes_a_linear_with_a_compressed_constant(matrix: Matrix) -> None:
    bound = program("matmul", "y")
    bind(bound, {NAME: matrix})
    bias, weight, linear = operations(bound)
    assert [bias.type, weight.type, linear.type] == ["const", "constexpr_blockwise_shift_scale", "linear"]
    assert weight.outputs[0].name == linear.inputs["weight"].arguments[0].name == SLOT
    assert bias.outputs[0].name == linear.inputs["bias"].arguments[0].name
    assert set(linear.inputs) == {"x", "weight", "bias"}
    scale = weight.inputs["scale"].arguments[0].value.type.tensorType
    assert [axis.constant.size for axis in scale.dimensions] == [128, 2], "groups of 32 in 64 inputs"


def test_the_weight_is_no_input_any_more(matrix: Matrix) -> None:
    bound = program("matmul", "y")
    bind(bound, {NAME: matrix})
    assert [entry.name for entry in bound.model.mlProgram.functions["main"].inputs] == ["x"]
    assert [entry.name for entry in bound.model.description.input] == ["inputIds"]


def test_a_weight_used_in_another_way_is_refused(matrix: Matrix) -> None:
    with pytest.raises(LoweringError, match=r"up_proj\.weight: is input 'y' of a mul"):
        bind(program("mul", "y"), {NAME: matrix})


def test_a_weight_the_program_does_not_know_is_refused(matrix: Matrix) -> None:
    other = "model.layers.1.mlp.up_proj.weight"
    with pytest.raises(LoweringError, match=r"layers\.1\.mlp\.up_proj\.weight: the converted program"):
        bind(program("matmul", "y"), {NAME: matrix, other: matrix})


def test_payloads_come_in_chunks_of_rows(matrix: Matrix, tmp_path: Path) -> None:
    weights = bind(program("matmul", "y"), {NAME: matrix})
    weights.write(tmp_path / "weight.bin", lambda done: None)
    raw = (tmp_path / "weight.bin").read_bytes()
    packed = matrix.packed(0, 128)  # type: ignore[union-attr]  # the fixture's linears are integers
    flipped = (packed ^ np.uint8(0x88)).tobytes()
    assert flipped in raw


def test_slot_names_can_be_undone() -> None:
    assert slot_name(NAME) == SLOT
    assert weight_name(SLOT) == NAME
