"""Compressed weights as the MIL evaluator decodes them, against coremltools' own decompression.

The matrix: int4, uint4, int8, uint8 codes; per-tensor, per-channel, per-block and two-dimensional
blocks; with and without offsets; odd row lengths, where 4-bit rows begin inside a byte; each read as
a whole, by row blocks (`linear` without a cache) and by single rows (`gather`); both arithmetics. Not
asserted: how the exporter chooses codes and scales.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from coremltools.converters.mil import Builder as mb
from coremltools.converters.mil.mil import types

from runtimes.mil.execution import Execution
from tests.parity.mil_packages import save_program

Array = np.ndarray[Any, np.dtype[Any]]

CODES = {
    "int4": (types.np_int4_dtype, -8, 8),
    "uint4": (types.np_uint4_dtype, 0, 16),
    "int8": (np.int8, -128, 128),
    "uint8": (np.uint8, 0, 256),
}


@dataclass(frozen=True)
class Compressed:
    """A weight of `shape` in `codes`, its scales of `scales`, with offsets or not."""

    codes: str
    shape: tuple[int, ...]
    scales: tuple[int, ...]
    offset: bool = False
    scale_dtype: Any = np.float16


WEIGHTS = (
    Compressed("int4", (40, 64), (40, 2)),
    Compressed("int4", (40, 64), (40, 1), scale_dtype=np.float32),
    Compressed("int4", (7, 15), (7, 3)),
    Compressed("int4", (12, 6), (4, 2), offset=True),
    Compressed("uint4", (9, 10), (9, 5), offset=True),
    Compressed("int8", (40, 64), (40, 1)),
    Compressed("int8", (6, 8), (1, 1)),
    Compressed("int8", (6, 8), (2, 8), offset=True, scale_dtype=np.float32),
    Compressed("uint8", (10, 12), (5, 3), offset=True),
    Compressed("int4", (4, 6, 10), (2, 3, 1)),
)


def _save(weight: Compressed, path: Path) -> tuple[Array, Array]:
    """A package that reads the weight in three ways; the weight coremltools decodes, and rows to gather."""
    random = np.random.default_rng(3)
    dtype, low, high = CODES[weight.codes]
    data = random.integers(low, high, weight.shape).astype(dtype)
    scale = (random.standard_normal(weight.scales) / 7).astype(weight.scale_dtype)
    parts = {"data": data, "scale": scale}
    if weight.offset:
        parts["offset"] = random.integers(low, high, weight.scales).astype(dtype)
    rows = random.integers(0, weight.shape[0], (2, 3)).astype(np.int32)
    decoded: list[Array] = []
    kind = types.fp16 if weight.scale_dtype is np.float16 else types.fp32

    def build(x: Any) -> list[Any]:
        compressed = mb.constexpr_blockwise_shift_scale(**parts)
        exact = {key: part.astype(np.float32) for key, part in parts.items()}
        decoded.append(type(compressed.op).decompress(exact["data"], exact["scale"], exact.get("offset")))
        outputs = [
            mb.identity(x=compressed, name="whole"),
            mb.gather(x=compressed, indices=rows, axis=0, name="rows"),
        ]
        if len(weight.shape) == 2:
            outputs.append(mb.linear(x=x, weight=compressed, name="product"))
        return outputs

    save_program(path, {"x": mb.placeholder(shape=(2, weight.shape[-1]), dtype=kind)}, build)
    return decoded[0], rows


@pytest.mark.parametrize("arithmetic", ["fp32", "fp16"])
@pytest.mark.parametrize("weight", WEIGHTS, ids=str)
def test_a_compressed_weight_decodes_as_coremltools_does(
    weight: Compressed, arithmetic: Any, tmp_path: Path
) -> None:
    path = tmp_path / "weight.mlpackage"
    expected, rows = _save(weight, path)
    if arithmetic == "fp16" and weight.scale_dtype is np.float16:
        expected = expected.astype(np.float16).astype(np.float32)
    x = np.random.default_rng(5).standard_normal((2, weight.shape[-1])).astype(np.float16)
    for cache in (1 << 20, 0):
        execution = Execution.open(path, arithmetic, weight_cache_bytes=cache)
        got = execution.run({"x": x.astype(np.float32)})
        np.testing.assert_array_equal(got["rows"], expected[rows])
        np.testing.assert_array_equal(got["whole"], expected)
        if "product" in got:
            product = x.astype(np.float64) @ expected.T.astype(np.float64)
            tolerance = 1e-3 if arithmetic == "fp16" else 1e-5
            np.testing.assert_allclose(got["product"], product, rtol=tolerance, atol=tolerance)


def test_a_weight_larger_than_a_row_block_is_multiplied_block_by_block(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("runtimes.mil.weight_memory.BLOCK_BYTES", 4 * 64 * 16)  # 16 of 40 rows
    path = tmp_path / "weight.mlpackage"
    expected, _ = _save(WEIGHTS[0], path)
    x = np.random.default_rng(5).standard_normal((2, 64)).astype(np.float32)
    got = Execution.open(path, "fp32", weight_cache_bytes=0).run({"x": x})
    np.testing.assert_allclose(got["product"], x @ expected.T, rtol=1e-5, atol=1e-5)
    np.testing.assert_array_equal(got["whole"], expected)
