"""Bytes of stored tensors, and where they lie in the data file."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from exporter.errors import LoweringError
from exporter.lowering.onnx.external_data import ALIGNMENT, ByteRange, lay_out, write_external_data
from exporter.lowering.onnx.stored_tensors import (
    CodeBytes,
    DataTensor,
    FloatBytes,
    Ones,
    RopeTable,
    ScaleBytes,
    StoredZeroPointBytes,
    ZeroPointBytes,
    block_size,
    pieces,
)
from exporter.models.text.spec import Rope
from exporter.quantization.store.checkpoint import IntegerMatrix, QuantizedCheckpoint
from exporter.schemes import FP32, INT4_CHANNEL, INT4_G32, INT8_CHANNEL
from tests.fakes import silent
from tests.tiny import tiny_gemma3
from tests.tiny_releases import quantized
from tests.unit.exporter.lowering.onnx.tiny_releases import TinyRelease

Q, K = (f"model.layers.0.self_attn.{which}_proj.weight" for which in "qk")


@pytest.mark.parametrize(
    ("inputs", "block"), [(64, 64), (640, 128), (1152, 128), (2048, 256), (3840, 256), (6912, 256)]
)
def test_a_row_with_one_scale_gets_the_largest_block_that_divides_it(
    inputs: int, block: int, int8_release: TinyRelease
) -> None:
    file = _integer(int8_release.checkpoint, Q).file
    assert block_size(IntegerMatrix("w", (4, inputs), INT8_CHANNEL, file)) == block


def test_groups_are_blocks(int4_release: TinyRelease) -> None:
    file = _integer(int4_release.checkpoint, Q).file
    assert block_size(IntegerMatrix("w", (4, 640), INT4_G32, file)) == 32


def test_a_row_no_block_divides_is_refused(int8_release: TinyRelease) -> None:
    file = _integer(int8_release.checkpoint, Q).file
    with pytest.raises(LoweringError, match="no multiple of 16"):
        block_size(IntegerMatrix("w", (4, 24), INT8_CHANNEL, file))


def test_matrices_of_one_input_lie_one_below_the_other(int8_release: TinyRelease) -> None:
    checkpoint = int8_release.checkpoint
    found = np.concatenate(list(pieces(CodeBytes((Q, K)), checkpoint)))
    queries, keys = (_integer(checkpoint, name) for name in (Q, K))
    expected = [matrix.packed(0, matrix.shape[0]) for matrix in (queries, keys)]
    np.testing.assert_array_equal(found, np.concatenate(expected))


def test_a_rows_scale_is_repeated_for_each_of_its_blocks(int8_release: TinyRelease) -> None:
    matrix = _integer(int8_release.checkpoint, Q)
    (found,) = pieces(ScaleBytes((Q,), 16), int8_release.checkpoint)
    assert found.shape == (matrix.shape[0], 4)
    np.testing.assert_array_equal(found, np.repeat(matrix.scales(0, matrix.shape[0]), 4, axis=1))


@pytest.mark.parametrize(("bits", "byte", "shape"), [(8, 0x80, (3, 5)), (4, 0x88, (3, 3))])
def test_zero_points_are_the_offset_of_the_codes(
    bits: int, byte: int, shape: tuple[int, int], int8_release: TinyRelease
) -> None:
    (found,) = pieces(ZeroPointBytes(3, 5, bits), int8_release.checkpoint)
    np.testing.assert_array_equal(found, np.full(shape, byte, np.uint8))


def test_zero_points_of_a_row_lie_two_a_byte_as_the_codes_do(int4_zp_release: TinyRelease) -> None:
    matrix = _integer(int4_zp_release.checkpoint, Q)
    (found,) = pieces(StoredZeroPointBytes((Q,), 32), int4_zp_release.checkpoint)
    zero_points = matrix.zero_points(0, matrix.shape[0])
    assert zero_points is not None
    assert len(np.unique(zero_points)) > 1
    np.testing.assert_array_equal(found & 0x0F, zero_points[:, 0::2] + 8)
    np.testing.assert_array_equal(found >> 4, zero_points[:, 1::2] + 8)


def test_a_rope_table_turns_position_by_frequency(int8_release: TinyRelease) -> None:
    rope = Rope(theta=1e4, linear_factor=2.0, rotated=0.5)
    cos, sin = (
        np.concatenate(list(pieces(RopeTable(rope, 8, 5000, function), int8_release.checkpoint)))
        for function in ("cos", "sin")
    )
    frequencies = np.array([1.0, 1e4 ** (-2 / 8), 0.0, 0.0]) / 2.0
    angles = np.arange(5000)[:, None] * frequencies
    np.testing.assert_allclose(cos, np.cos(angles), atol=2e-4)  # fp32 angles, as transformers has them
    np.testing.assert_allclose(sin, np.sin(angles), atol=2e-4)


def test_a_graph_of_another_recipe_is_refused(int8_release: TinyRelease, tmp_path: Path) -> None:
    floats = quantized(tmp_path, tiny_gemma3(), FP32)
    with pytest.raises(LoweringError, match="int8-channel"):
        list(pieces(FloatBytes((Q,)), int8_release.checkpoint))
    with pytest.raises(LoweringError, match="fp32"):
        list(pieces(CodeBytes((Q,)), floats))
    with pytest.raises(LoweringError, match="int8-channel, the graph expects a scheme with zero points"):
        list(pieces(StoredZeroPointBytes((Q,), 64), int8_release.checkpoint))


def test_equal_contents_share_a_range_and_others_start_on_pages() -> None:
    tensors = [
        DataTensor("a", "float32", (5,), Ones(5)),
        DataTensor("b", "float32", (1, 5), Ones(5)),
        DataTensor("c", "float32", (7,), Ones(7)),
    ]
    assert lay_out(tensors) == {Ones(5): ByteRange(0, 20), Ones(7): ByteRange(ALIGNMENT, 28)}


def test_bytes_that_do_not_fill_their_range_are_an_error(int8_release: TinyRelease, tmp_path: Path) -> None:
    ranges = lay_out([DataTensor("a", "float32", (6,), Ones(5))])
    with pytest.raises(LoweringError, match="20 bytes, the graph expects 24"):
        write_external_data(tmp_path / "data", ranges, int8_release.checkpoint, silent)


def test_four_bit_rows_with_one_scale_are_packed_alike(tmp_path: Path) -> None:
    checkpoint = quantized(tmp_path, tiny_gemma3(), INT4_CHANNEL)
    (codes,) = pieces(CodeBytes((Q,)), checkpoint)
    (scales,) = pieces(ScaleBytes((Q,), 64), checkpoint)
    assert codes.shape[1] == 32
    assert scales.shape[1] == 1


def _integer(checkpoint: QuantizedCheckpoint, name: str) -> IntegerMatrix:
    matrix = checkpoint.matrices[name]
    assert isinstance(matrix, IntegerMatrix)
    return matrix
