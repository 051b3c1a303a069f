"""The smallest sound file of each format, to be damaged. Not about damaging it (`mutations`)."""

from __future__ import annotations

import struct
import uuid
from pathlib import Path
from typing import Any

import flatbuffers
import gguf
import numpy as np
import onnx
from ai_edge_litert import schema_py_generated as schema
from onnx import TensorProto, helper
from safetensors.numpy import save

from exporter.lowering.litert.container_writing import SectionSource, write_container
from exporter.lowering.onnx.artifact_file import WEIGHTS_KEY
from runtimes.litert.container import PREFILL_DECODE, TFLITE_KIND

ROWS, COLUMNS = 4, 32


def safetensors_bytes() -> bytes:
    arrays = {"model.norm.weight": np.zeros(4, np.float32), "b": np.ones((2, 3), np.float16)}
    found: bytes = save(arrays, {"format": "pt"})
    return found


def write_gguf(path: Path) -> Path:
    """Metadata of every kind, a SentencePiece vocabulary of four pieces, two tensors."""
    writer = gguf.GGUFWriter(path, "gemma3")
    writer.add_uint32("gemma3.block_count", 1)
    writer.add_float32("gemma3.rope.freq_base", 1e6)
    writer.add_bool("tokenizer.ggml.add_bos_token", True)
    writer.add_tokenizer_model("llama")
    writer.add_token_list(["<pad>", "<eos>", "<bos>", "a"])
    writer.add_token_scores([0.0, 0.0, 0.0, -1.0])
    writer.add_token_types([3, 3, 3, 1])
    for key in ("bos", "eos", "padding"):
        writer.add_uint32(f"tokenizer.ggml.{key}_token_id", 1)
    writer.add_tensor("token_embd.weight", np.zeros((4, 32), np.float32))
    writer.add_tensor("output_norm.weight", np.zeros(32, np.float32))
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return path


def tflite_bytes() -> bytes:
    """One signature, and one int8 matrix whose codes lie behind the flatbuffer."""
    codes = np.arange(ROWS * COLUMNS, dtype=np.int8).tobytes()
    model = _tflite_model()
    size = len(_packed(model))  # offsets are scalars: the size is known before they are
    model.buffers[1].offset, model.buffers[1].size = size, len(codes)
    return _packed(model) + codes


def _tflite_model() -> Any:
    model = schema.ModelT()
    model.version = 3
    model.buffers = [schema.BufferT(), schema.BufferT()]
    model.buffers[1].offset = model.buffers[1].size = 2  # a 0 would not be stored
    code = schema.OperatorCodeT()
    code.builtinCode = code.deprecatedBuiltinCode = schema.BuiltinOperator.FULLY_CONNECTED
    model.operatorCodes = [code]
    graph = schema.SubGraphT()
    graph.name = "decode"
    graph.tensors = [
        _tensor("x", [1, COLUMNS], 0),
        _tensor("w", [ROWS, COLUMNS], 1),
        _tensor("y", [1, ROWS], 0),
    ]
    weight = graph.tensors[1]
    weight.type = schema.TensorType.INT8
    weight.quantization = schema.QuantizationParametersT()
    weight.quantization.scale = np.ones(ROWS, np.float32)
    weight.quantization.zeroPoint = np.zeros(ROWS, np.int64)
    operator = schema.OperatorT()
    operator.inputs, operator.outputs = np.array([0, 1], np.int32), np.array([2], np.int32)
    graph.inputs, graph.outputs, graph.operators = (
        np.array([0], np.int32),
        np.array([2], np.int32),
        [operator],
    )
    model.subgraphs = [graph]
    return model


def _tensor(name: str, shape: list[int], buffer: int) -> Any:
    tensor = schema.TensorT()
    tensor.name, tensor.shape, tensor.buffer = name, np.array(shape, np.int32), buffer
    return tensor


def _packed(model: Any) -> bytes:
    builder = flatbuffers.Builder(1024)
    builder.Finish(model.Pack(builder), b"TFL3")
    return bytes(builder.Output())


def write_litertlm(path: Path) -> Path:
    data = tflite_bytes()
    section = SectionSource(
        TFLITE_KIND, (("model_type", PREFILL_DECODE),), lambda file: _put(file.write(data))
    )
    write_container(path, [section], uuid.UUID(int=0))
    return path


def _put(_: int) -> None:
    return None


def write_onnx(path: Path) -> Path:
    """One MatMulNBits of 4 bits, one float matrix, and their data beside the graph."""
    data = path.with_name("model.onnx.data")
    data.write_bytes(bytes(range(256)) * 4)
    tensors = [
        _initializer("codes", TensorProto.UINT8, (ROWS, 1, COLUMNS // 2), 0, 64, [["w", ROWS, "int4-g32"]]),
        _initializer("scales", TensorProto.FLOAT, (ROWS, 1), 64, 16, None),
        _initializer("zeros", TensorProto.UINT8, (ROWS, 1), 80, 4, None),
        _initializer("table", TensorProto.FLOAT16, (ROWS, COLUMNS), 128, 256, [["t", ROWS, "fp16"]]),
    ]
    nodes = [
        helper.make_node("Gather", ["table", "ids"], ["x"]),
        helper.make_node(
            "MatMulNBits",
            ["x", "codes", "scales", "zeros"],
            ["y"],
            bits=4,
            block_size=COLUMNS,
            K=COLUMNS,
            N=ROWS,
        ),
    ]
    graph = helper.make_graph(nodes, "g", [], [], tensors)
    path.write_bytes(helper.make_model(graph).SerializeToString())
    return path


def _initializer(
    name: str, kind: int, shape: tuple[int, ...], offset: int, length: int, weights: Any
) -> onnx.TensorProto:
    tensor = TensorProto(name=name, data_type=kind, dims=shape, data_location=TensorProto.EXTERNAL)
    for key, value in (("location", "model.onnx.data"), ("offset", offset), ("length", length)):
        tensor.external_data.add(key=key, value=str(value))
    if weights is not None:
        tensor.metadata_props.add(key=WEIGHTS_KEY, value=str(weights).replace("'", '"'))
    return tensor


def write_mlpackage(path: Path) -> Path:
    """A program of one weight in blocks and one linear layer, written message by message."""
    from coremltools.proto import MIL_pb2, Model_pb2

    data = path / "Data" / "com.apple.CoreML"
    (data / "weights").mkdir(parents=True)
    (data / "weights" / "weight.bin").write_bytes(_blobs())
    model = Model_pb2.Model()
    model.specificationVersion = 9
    for feature, width in (
        (model.description.input.add(), COLUMNS),
        (model.description.output.add(), ROWS),
    ):
        feature.name = "x" if width == COLUMNS else "y"
        feature.type.multiArrayType.shape.extend((1, width))
    program = model.mlProgram
    program.version = 1
    main = program.functions["main"]
    main.opset = "CoreML8"
    _named(main.inputs.add(), "x", 10, (1, COLUMNS))
    block = main.block_specializations["CoreML8"]
    block.outputs.append("y")
    weight = block.operations.add()
    weight.type = "constexpr_blockwise_shift_scale"
    _blob(weight.inputs["data"].arguments.add().value, 21, (ROWS, COLUMNS), 64)
    _blob(weight.inputs["scale"].arguments.add().value, 10, (ROWS, 1), 256)
    _named(weight.outputs.add(), "w", 10, (ROWS, COLUMNS))
    linear = block.operations.add()
    linear.type = "linear"
    linear.inputs["x"].arguments.add().name = "x"
    linear.inputs["weight"].arguments.add().name = "w"
    _named(linear.outputs.add(), "y", 10, (1, ROWS))
    assert MIL_pb2.DataType.FLOAT16 == 10
    (data / "model.mlmodel").write_bytes(model.SerializeToString())
    (path / "Manifest.json").write_text(
        '{"fileFormatVersion": "1.0.0", "rootModelIdentifier": "A", '
        '"itemInfoEntries": {"A": {"path": "com.apple.CoreML/model.mlmodel"}}}',
        encoding="utf-8",
    )
    return path


def _named(entry: Any, name: str, kind: int, shape: tuple[int, ...]) -> None:
    entry.name = name
    _typed(entry.type.tensorType, kind, shape)


def _typed(entry: Any, kind: int, shape: tuple[int, ...]) -> None:
    entry.dataType, entry.rank = kind, len(shape)
    for side in shape:
        entry.dimensions.add().constant.size = side


def _blob(value: Any, kind: int, shape: tuple[int, ...], offset: int) -> None:
    _typed(value.type.tensorType, kind, shape)
    value.blobFileValue.fileName = "@model_path/weights/weight.bin"
    value.blobFileValue.offset = offset


def _blobs() -> bytes:
    """Int8 codes at 64, fp16 scales at 256: a record of 64 bytes, then the data."""
    codes = struct.pack("<IIQQQ", 0xDEADBEEF, 4, ROWS * COLUMNS, 128, 0).ljust(64, b"\0") + bytes(
        ROWS * COLUMNS
    )
    scales = struct.pack("<IIQQQ", 0xDEADBEEF, 1, ROWS * 2, 320, 0).ljust(64, b"\0") + bytes(ROWS * 2)
    return struct.pack("<II", 2, 2).ljust(64, b"\0") + codes + scales
