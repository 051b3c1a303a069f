"""Gemma 4 E's per-layer table in ONNX and Core ML: stored once, in its scheme's codes, never in float.

Matrix: {ONNX, Core ML} x the table in {int8-channel, int4-g32}, by stored types and by bytes on disk. Not
asserted: LiteRT's (tests/unit/exporter/lowering/litert), what the models compute
(tests/contracts).
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import onnx
import pytest

from exporter.lowering.coreml.quiet import quietly
from exporter.lowering.table import lowerings_for
from exporter.models.text.spec import Role
from exporter.quantization.quantize import write_quantized
from exporter.quantization.store.checkpoint import QuantizedCheckpoint
from exporter.schemes import INT4_G32, INT8_CHANNEL, IntegerScheme
from exporter.validation.stored_weights import differing_numbers
from runtimes.formats import Format
from tests.fakes import silent
from tests.tiny import VOCABULARY, RandomSource, tiny_gemma4_e2b
from tests.tiny_releases import lowering_order

TABLE = "model.embed_tokens_per_layer.weight"
CONSTEXPR = "constexpr_blockwise_shift_scale"
MIL_TYPES = {8: 21, 4: 25}  # MIL.proto, DataType: INT8, INT4


def _checkpoint(directory: Path, tables: IntegerScheme, **changes: int) -> QuantizedCheckpoint:
    source = RandomSource({**tiny_gemma4_e2b(), **changes})
    schemes = {
        weight.name: tables if weight.role is Role.PER_LAYER_EMBEDDING else INT8_CHANNEL
        for weight in source.components["text"].weights
        if weight.is_matrix
    }
    return write_quantized(source, schemes, directory / "quantised", silent)


@pytest.fixture(params=[INT8_CHANNEL, INT4_G32], ids=lambda scheme: scheme.name)
def scheme(request: pytest.FixtureRequest) -> IntegerScheme:
    found = request.param
    assert isinstance(found, IntegerScheme)
    return found


def _lowered(
    form: Format, scheme: IntegerScheme, directory: Path, **changes: int
) -> tuple[Path, QuantizedCheckpoint]:
    checkpoint = _checkpoint(directory, scheme, **changes)
    (lowering,) = lowerings_for((form,)).values()
    release = directory / "release"
    release.mkdir()
    (artifact,) = lowering.lower(lowering_order(checkpoint, directory), release, silent)
    assert differing_numbers(lowering.read_back(release, artifact), checkpoint) == 0
    return release / artifact.path, checkpoint


def test_onnx_looks_rows_of_codes_up(scheme: IntegerScheme, tmp_path: Path) -> None:
    path, checkpoint = _lowered("onnx", scheme, tmp_path)
    graph = onnx.load(str(path), load_external_data=False).graph
    initializers = {tensor.name: tensor for tensor in graph.initializer}
    codes = initializers[f"{TABLE}.rows"]
    rows, width = checkpoint.matrices[TABLE].shape
    assert codes.data_type == onnx.TensorProto.UINT8
    assert list(codes.dims) == [rows, width * scheme.bits // 8]
    (node,) = (node for node in graph.node if codes.name in node.input)
    assert node.op_type == "GatherBlockQuantized"
    # No other tensor is as large: the table is not there a second time, in float or in codes.
    assert [tensor.name for tensor in graph.initializer if _entries(tensor) >= rows * width // 2] == [
        codes.name
    ]


def _entries(tensor: Any) -> int:
    count = 1
    for side in tensor.dims:
        count *= side
    return count


def test_core_ml_gathers_from_compressed_codes(scheme: IntegerScheme, tmp_path: Path) -> None:
    path, checkpoint = _lowered("coreml", scheme, tmp_path)
    with quietly():
        from coremltools.proto import Model_pb2

    (file,) = path.rglob("*.mlmodel")
    program = Model_pb2.Model.FromString(file.read_bytes()).mlProgram.functions["main"]
    operations = program.block_specializations[program.opset].operations
    slot = TABLE.replace(".", "__")
    (constant,) = (each for each in operations if each.outputs and each.outputs[0].name == slot)
    assert constant.type == CONSTEXPR
    data = constant.inputs["data"].arguments[0].value.type.tensorType
    assert data.dataType == MIL_TYPES[scheme.bits]
    assert [axis.constant.size for axis in data.dimensions] == list(checkpoint.matrices[TABLE].shape)
    uses = [
        (each.type, name)
        for each in operations
        for name, binding in each.inputs.items()
        if any(argument.name == slot for argument in binding.arguments)
    ]
    assert uses == [("gather", "x")]


@pytest.mark.parametrize("form", ["onnx", "coreml"])
def test_more_rows_take_what_their_codes_take(form: Format, scheme: IntegerScheme, tmp_path: Path) -> None:
    sizes, stored = [], []
    for rows in (VOCABULARY, 16 * VOCABULARY):  # pages and graph cancel
        directory = tmp_path / str(rows)
        directory.mkdir()
        path, checkpoint = _lowered(form, scheme, directory, vocab_size_per_layer_input=rows)
        files = path.rglob("*") if path.is_dir() else path.parent.glob(f"{path.name}*")
        sizes.append(sum(each.stat().st_size for each in files if each.is_file()))
        stored.append(scheme.stored_bytes(checkpoint.matrices[TABLE].shape))
    # ONNX has fp32 scales and zero points for blocks beside the codes; half precision would be twice.
    assert 1.0 <= (sizes[1] - sizes[0]) / (stored[1] - stored[0]) < 1.25
