"""Weights decoded by rows: what is kept, what is decoded, and what that costs."""

from __future__ import annotations

import numpy as np
import pytest

from runtimes.errors import ArtifactError
from runtimes.mil.arithmetic import HalfRounding
from runtimes.mil.constexpr import BlockwiseDecoder
from runtimes.mil.payloads import Elements
from runtimes.mil.tensor_types import Array, DataType, Floats, TensorType
from runtimes.mil.weight_memory import Weight, WeightMemory


class CountingDecoder:
    """Row r holds r / 3; counts the rows it was asked for."""

    def __init__(self, shape: tuple[int, int]) -> None:
        self.shape = shape
        self.decoded = 0

    def decode(self, start: int, stop: int, out: Floats) -> None:
        self.decoded += stop - start
        out[...] = (np.arange(start, stop, dtype=np.float32) / 3)[:, None]

    def take(self, rows: Array) -> Floats:
        self.decoded += rows.size
        return np.repeat((rows / 3).astype(np.float32)[:, None], self.shape[1], axis=1)


def test_a_kept_weight_is_decoded_once() -> None:
    decoder = CountingDecoder((10, 4))
    weight = Weight(decoder, WeightMemory(10 * 4 * 4), None)
    assert weight.dense() is weight.dense()
    assert weight.take(np.array([3]))[0, 0] == np.float32(1)
    assert decoder.decoded == 10


def test_weights_beyond_the_bound_are_not_kept() -> None:
    memory = WeightMemory(10 * 4 * 4 + 3)
    first, second = (Weight(CountingDecoder((10, 4)), memory, None) for _ in range(2))
    assert first.kept() is not None
    assert second.kept() is None
    np.testing.assert_array_equal(first.dense(), second.dense())
    assert second.kept() is None


def test_rows_are_taken_without_decoding_others() -> None:
    decoder = CountingDecoder((1_000_000, 4))
    weight = Weight(decoder, WeightMemory(1 << 30), None)
    assert weight.take(np.array([7, 7, 999_999])).shape == (3, 4)
    assert decoder.decoded == 3


@pytest.mark.parametrize("side_by_side", [True, False])
def test_blocks_cover_every_row_once_in_a_threads_own_memory(
    monkeypatch: pytest.MonkeyPatch, side_by_side: bool
) -> None:
    monkeypatch.setattr("runtimes.mil.weight_memory.BLOCK_BYTES", 3 * 4 * 4)
    memory = WeightMemory(0)
    weight = Weight(CountingDecoder((10, 4)), memory, None)
    found: dict[tuple[int, int], Floats] = {}

    def use(start: int, stop: int, block: Floats) -> None:
        assert np.shares_memory(block, memory.scratch(12))
        found[start, stop] = block[:, 0].copy()

    weight.each_block(use, side_by_side=side_by_side)
    assert sorted(found) == [(0, 3), (3, 6), (6, 9), (9, 10)]
    rows = np.concatenate([found[span] for span in sorted(found)])
    np.testing.assert_array_equal(rows, weight.dense()[:, 0])


def test_an_error_in_a_block_is_raised() -> None:
    def use(start: int, stop: int, block: Floats) -> None:
        raise ValueError(f"rows {start} to {stop}")

    with pytest.raises(ValueError, match="rows 0 to 10"):
        Weight(CountingDecoder((10, 4)), WeightMemory(0), None).each_block(use, side_by_side=True)


@pytest.mark.parametrize("dtype", [DataType.INT4, DataType.UINT4])
@pytest.mark.parametrize("shape", [(6, 4), (5, 3)])  # rows of whole bytes, and rows that share one
def test_rows_of_nibbles_are_written_as_they_are_read(dtype: DataType, shape: tuple[int, int]) -> None:
    count = -(-shape[0] * shape[1] // 2)
    data = memoryview(np.random.default_rng(0).bytes(count))
    elements = Elements(TensorType(dtype, shape), data, "p: constant w")
    for start, stop in ((0, shape[0]), (1, 4), (2, 3)):
        out = np.empty((stop - start, shape[1]), np.float32)
        elements.write_rows(start, stop, out)
        np.testing.assert_array_equal(out, elements.rows(start, stop))


def test_every_way_of_decoding_rounds_where_asked() -> None:
    weight = Weight(CountingDecoder((10, 4)), WeightMemory(0), HalfRounding())
    rounded = (np.arange(10, dtype=np.float32) / 3).astype(np.float16).astype(np.float32)
    np.testing.assert_array_equal(weight.dense()[:, 0], rounded)
    np.testing.assert_array_equal(weight.take(np.arange(10))[:, 0], rounded)

    def use(start: int, stop: int, block: Floats) -> None:
        np.testing.assert_array_equal(block[:, 0], rounded)

    weight.each_block(use, side_by_side=True)


def _elements(dtype: DataType, shape: tuple[int, ...], size: int) -> Elements:
    return Elements(TensorType(dtype, shape), memoryview(bytes(size)), "p: constant w")


def test_a_payload_of_another_size_is_refused() -> None:
    assert _elements(DataType.INT4, (3, 3), 5).all().shape == (3, 3)
    with pytest.raises(ArtifactError, match=r"w: int4\[3, 3\] wants 5 bytes, its payload has 4"):
        _elements(DataType.INT4, (3, 3), 4)


def test_scales_that_do_not_divide_the_codes_are_refused() -> None:
    codes = _elements(DataType.INT8, (4, 6), 24)
    BlockwiseDecoder(codes, _elements(DataType.FLOAT16, (2, 3), 12), None)
    for shape in ((3, 6), (4, 4), (4,)):
        scales = _elements(DataType.FLOAT16, shape, 2 * int(np.prod(shape)))
        with pytest.raises(ArtifactError, match="does not divide"):
            BlockwiseDecoder(codes, scales, None)
    with pytest.raises(ArtifactError, match="beside scales"):
        BlockwiseDecoder(codes, _elements(DataType.FLOAT16, (4, 1), 8), _elements(DataType.INT8, (1, 1), 1))
    with pytest.raises(ArtifactError, match="not floats"):
        BlockwiseDecoder(codes, _elements(DataType.INT8, (4, 1), 4), None)
