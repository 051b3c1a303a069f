from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import numpy as np
import pytest

from exporter.lowering.interface import StoredRows
from exporter.quantization.quantize import write_quantized
from exporter.quantization.store.checkpoint import IntegerMatrix, QuantizedCheckpoint, row_chunks
from exporter.schemes import FP16, INT4_G32, INT4_G32_ZP, INT8_CHANNEL, Scheme
from exporter.validation.stored_weights import differing_numbers
from tests.fakes import silent
from tests.tiny import RandomSource, tiny_gemma3

EMBEDDING = "model.embed_tokens.weight"
LINEAR, WITH_ZERO_POINTS = (f"model.layers.3.mlp.{which}_proj.weight" for which in ("up", "down"))


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> QuantizedCheckpoint:
    source = RandomSource(tiny_gemma3())

    def scheme(name: str) -> Scheme:
        if "down_proj" in name:
            return INT4_G32_ZP
        if "mlp" in name:
            return INT4_G32
        return FP16 if "o_proj" in name else INT8_CHANNEL

    schemes = {
        weight.name: scheme(weight.name) for weight in source.components["text"].weights if weight.is_matrix
    }
    return write_quantized(source, schemes, tmp_path_factory.mktemp("quantised"), silent)


def faithful(checkpoint: QuantizedCheckpoint) -> Iterator[StoredRows]:
    for name, matrix in checkpoint.matrices.items():
        for start, stop in row_chunks(matrix, budget=10_000):
            if isinstance(matrix, IntegerMatrix):
                scales = matrix.scales(start, stop).astype(np.float32)
                zero_points = matrix.zero_points(start, stop)
                yield StoredRows(name, start, matrix.codes(start, stop), scales, None, zero_points)
            else:
                yield StoredRows(name, start, None, None, matrix.values(start, stop))
    for name, values in checkpoint.vectors.items():
        yield StoredRows(name, 0, None, None, values + 1)


def test_a_faithful_artifact_differs_nowhere(checkpoint: QuantizedCheckpoint) -> None:
    assert differing_numbers(faithful(checkpoint), checkpoint) == 0


def test_every_changed_code_scale_and_value_is_counted(checkpoint: QuantizedCheckpoint) -> None:
    def damaged() -> Iterator[StoredRows]:
        for rows in faithful(checkpoint):
            if rows.start == 0 and rows.weight == EMBEDDING:
                assert rows.codes is not None
                rows.codes[5, 6:8] ^= 1
            elif rows.start == 0 and rows.weight == LINEAR:
                assert rows.scales is not None
                rows.scales[1, 0] *= 1.001
            elif rows.start == 0 and rows.weight == WITH_ZERO_POINTS:
                assert rows.zero_points is not None
                rows.zero_points[2, 1:4] ^= 1
            elif rows.start == 0 and rows.weight == "model.layers.0.self_attn.o_proj.weight":
                assert rows.values is not None
                rows.values[0, 0] = np.nan
            yield rows

    assert differing_numbers(damaged(), checkpoint) == 7


@pytest.mark.parametrize("weight", [LINEAR, WITH_ZERO_POINTS])
def test_zero_points_where_there_are_none_and_none_where_there_are_count_whole(
    weight: str, checkpoint: QuantizedCheckpoint
) -> None:
    def changed() -> Iterator[StoredRows]:
        for rows in faithful(checkpoint):
            if rows.weight == weight and rows.scales is not None:
                made_up = np.zeros(rows.scales.shape, np.int8) if rows.zero_points is None else None
                yield replace(rows, zero_points=made_up)
            else:
                yield rows

    assert differing_numbers(changed(), checkpoint) == 128 * 64


def test_rows_that_are_absent_count_with_all_their_entries(checkpoint: QuantizedCheckpoint) -> None:
    kept = [rows for rows in faithful(checkpoint) if not (rows.weight == EMBEDDING and rows.start == 0)]
    first = next(row_chunks(checkpoint.matrices[EMBEDDING], budget=10_000))[1]
    assert differing_numbers(kept, checkpoint) == first * 64


def test_a_matrix_of_another_model_counts_whole(checkpoint: QuantizedCheckpoint) -> None:
    stranger = StoredRows("model.layers.99.weight", 0, None, None, np.zeros((2, 3), np.float32))
    assert differing_numbers([*faithful(checkpoint), stranger], checkpoint) == 6


def test_floats_in_place_of_codes_count_whole(checkpoint: QuantizedCheckpoint) -> None:
    def floats() -> Iterator[StoredRows]:
        for rows in faithful(checkpoint):
            matrix = checkpoint.matrices.get(rows.weight)
            if rows.weight == LINEAR and matrix is not None and rows.codes is not None:
                values = matrix.values(rows.start, rows.start + len(rows.codes))
                yield replace(rows, codes=None, scales=None, values=values)
            else:
                yield rows

    assert differing_numbers(floats(), checkpoint) == 128 * 64
