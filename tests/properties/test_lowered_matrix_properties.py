"""Any codes, scales and zero points of any scheme that a container carries come out of it as they went in,
by its own reader and by what executes it.

Matrix: container x every scheme it carries with integers, rows and groups that fill no whole byte or word.
"""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from exporter.formats.table import FAMILIES
from exporter.lowering.coreml.binding import bind
from exporter.lowering.coreml.quiet import quietly
from exporter.lowering.litert.graph import ModelBuilder, SubgraphBuilder
from exporter.lowering.litert.operations import Operations
from exporter.lowering.litert.reading import LiteRtFile
from exporter.lowering.litert.storage import MatrixStore
from exporter.lowering.litert.writing import write_tflite
from exporter.lowering.onnx.artifact_file import ArtifactFile
from exporter.lowering.onnx.external_data import lay_out, write_external_data
from exporter.lowering.onnx.graph_builder import TOKENS, GraphBuilder
from exporter.lowering.onnx.integer_operators import IntegerOperators, KernelOperators
from exporter.lowering.onnx.read_back import read_back
from exporter.lowering.onnx.web_operators import WebOperators
from exporter.lowering.onnx.written_graph import initializer
from exporter.quantization.store.checkpoint import IntegerMatrix
from exporter.schemes import SCHEMES, IntegerScheme
from runtimes.mil.blobs import BlobFile
from runtimes.mil.constexpr import BlockwiseDecoder
from runtimes.mil.payloads import Elements
from runtimes.mil.tensor_types import DataType, TensorType
from tests.fakes import silent
from tests.random_matrices import NAME, checkpoint_of, random_matrix
from tests.unit.exporter.lowering.coreml.test_binding import operations, program

with quietly():
    from coremltools.converters.mil.mil.ops.defs.iOS18.compression import constexpr_blockwise_shift_scale
    from coremltools.libmilstoragepython import _BlobStorageReader

BLOCKS_MADE_UP = 16  # inputs of a scheme without groups are a multiple of this
Drawn = tuple[IntegerScheme, tuple[int, int], int]


def carried(runtime: str) -> st.SearchStrategy[IntegerScheme]:
    known = (SCHEMES[name] for name in sorted(FAMILIES[runtime].schemes))
    return st.sampled_from([scheme for scheme in known if isinstance(scheme, IntegerScheme)])


@st.composite
def matrices(draw: st.DrawFn, runtime: str) -> Drawn:
    """A scheme, a shape [rows, inputs] and a seed. Inputs are whole 32-bit words, as the store has them."""
    scheme = draw(carried(runtime))
    group = 2 * BLOCKS_MADE_UP if scheme.group is None else max(scheme.group, 32 // scheme.bits)
    return scheme, (draw(st.integers(1, 9)), group * draw(st.integers(1, 5))), draw(st.integers(0, 1 << 32))


@contextmanager
def stored(drawn: Drawn) -> Iterator[tuple[IntegerMatrix, Path]]:
    with tempfile.TemporaryDirectory(prefix="matrix-") as place:
        yield random_matrix(Path(place), *drawn), Path(place)


@pytest.mark.parametrize("operators", [KernelOperators(), WebOperators()], ids=["onnx", "onnx-web"])
@settings(max_examples=30)
@given(drawn=matrices("onnx"))
def test_onnx_holds_looks_up_and_multiplies_with_the_very_numbers(
    operators: IntegerOperators, drawn: Drawn
) -> None:
    with stored(drawn) as (matrix, directory):
        rows, inputs = matrix.shape
        path = written_onnx(matrix, operators, directory)
        assert_read_back(matrix, [each for each in read_back(path) if each.weight == NAME])
        session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
        x = np.random.default_rng(drawn[2]).standard_normal((1, 1, inputs)).astype(np.float32)
        looked_up, product = session.run(None, {"ids": np.arange(rows)[None], "x": x})
        expected = matrix.values(0, rows)
        np.testing.assert_array_equal(looked_up[0], expected)
        size = np.abs(x[0, 0]) @ np.abs(expected).T
        assert (np.abs(product[0, 0] - expected @ x[0, 0]) <= 1e-5 * size).all()


def written_onnx(matrix: IntegerMatrix, operators: IntegerOperators, directory: Path) -> Path:
    """A graph of a lookup in a matrix and a product with it, in fp32."""
    rows, inputs = matrix.shape
    with GraphBuilder() as graph:
        tokens = graph.input("ids", torch.int64, (1, TOKENS))
        x = graph.input("x", torch.float32, (1, 1, inputs))
        graph.output(operators.look_up(graph, tokens, matrix), "rows", (1, TOKENS, inputs))
        graph.output(operators.multiply(graph, x, (matrix,)), "y", (1, 1, rows))
    checkpoint, ranges = checkpoint_of(matrix), lay_out(graph.stored.values())
    write_external_data(directory / "data", ranges, checkpoint, silent)
    model = graph.model(
        [initializer(each, "data", ranges[each.content], checkpoint) for each in graph.stored.values()]
    )
    for node in model.graph.node:
        for attribute in node.attribute:
            if attribute.name == "accuracy_level":
                attribute.i = 1  # kernels that do not round x: what is compared is the matrix
    path = directory / "model.onnx"
    path.write_bytes(model.SerializeToString())
    assert ArtifactFile.open(path).origins(f"{NAME}.codes")
    return path


@settings(max_examples=50)
@given(drawn=matrices("coreml"))
def test_core_ml_holds_and_decodes_the_very_numbers(drawn: Drawn) -> None:
    with stored(drawn) as (matrix, directory):
        bound = program("matmul", "y")
        bind(bound, {NAME: matrix}).write(directory / "weight.bin", lambda done: None)
        weight = next(each for each in operations(bound) if each.type.startswith("constexpr"))
        parts = {name: given.arguments[0].value for name, given in weight.inputs.items()}
        assert set(parts) == {"data", "scale", *(["offset"] if matrix.scheme.zero_points else [])}
        # As coremltools reads the file and decodes what it read.
        reader, shape = _BlobStorageReader(str(directory / "weight.bin")), matrix.shape
        read = reader.read_int4_data if matrix.scheme.bits == 4 else reader.read_int8_data
        codes, groups = read(parts["data"].blobFileValue.offset), (shape[0], drawn[0].groups(shape[1]))
        scales = np.array(reader.read_fp16_data(parts["scale"].blobFileValue.offset), np.uint16)
        offsets = None
        if "offset" in parts:
            offsets = np.array(read(parts["offset"].blobFileValue.offset), np.float32).reshape(groups)
        expected = constexpr_blockwise_shift_scale.decompress(
            np.array(codes, np.float32).reshape(shape),
            scales.view(np.float16).astype(np.float32).reshape(groups),
            offsets,
        )
        np.testing.assert_array_equal(matrix.values(0, shape[0]), expected)
        # As the evaluator does, whole, from the middle on, and by single rows.
        file = BlobFile(directory / "weight.bin")
        decoder = BlockwiseDecoder(
            *(
                elements(file, parts[name]) if name in parts else None
                for name in ("data", "scale", "offset")
            )  # type: ignore[arg-type]  # data and scale are there
        )
        for start in (0, shape[0] // 2):
            found = np.empty((shape[0] - start, shape[1]), np.float32)
            decoder.decode(start, shape[0], found)
            np.testing.assert_array_equal(found, expected[start:])
        rows = np.arange(shape[0])[::-1]
        np.testing.assert_array_equal(decoder.take(rows), expected[rows])


def elements(file: BlobFile, value: Any) -> Elements:
    kind = DataType(value.type.tensorType.dataType)
    shape = tuple(each.constant.size for each in value.type.tensorType.dimensions)
    return Elements(TensorType(kind, shape), file.payload(value.blobFileValue.offset, kind), "test")


@settings(max_examples=50)
@given(drawn=matrices("litert"))
def test_litert_holds_the_very_numbers(drawn: Drawn) -> None:
    with stored(drawn) as (matrix, directory):
        builder = ModelBuilder()
        store, graph = MatrixStore.of(matrix, builder), SubgraphBuilder(builder, "look_up")
        tokens = graph.input("tokens", (3,), torch.int32)
        graph.finish({"rows": Operations(graph).embedding(tokens, store.value_in(graph))})
        path = directory / "table.tflite"
        with path.open("wb") as file:
            write_tflite(builder.model, store.data, file, lambda done, total: None)
        written = LiteRtFile.open(path)
        assert_read_back(matrix, [written.rows(written.matrices[NAME], 0, matrix.shape[0])])


def assert_read_back(matrix: IntegerMatrix, found: list[Any]) -> None:
    (rows,) = found
    count = matrix.shape[0]
    np.testing.assert_array_equal(rows.codes, matrix.codes(0, count))
    np.testing.assert_array_equal(rows.scales, matrix.scales(0, count))
    zero_points = matrix.zero_points(0, count)
    assert (rows.zero_points is None) == (zero_points is None)
    if zero_points is not None:
        np.testing.assert_array_equal(rows.zero_points, zero_points)
