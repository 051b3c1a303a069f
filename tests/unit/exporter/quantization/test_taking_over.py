"""Codes taken over from a source: the very same ones, recorded as such, resumed as such."""

from __future__ import annotations

import json
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from exporter.checkpoints.interface import Codes, CodeScales
from exporter.errors import CheckpointError, PlanError, QuantizedCheckpointError
from exporter.quantization.methods.nearest import quantize_rows
from exporter.quantization.methods.scale_search import ZERO_GROUP_SCALE
from exporter.quantization.quantize import write_quantized
from exporter.quantization.store.checkpoint import IntegerMatrix, open_quantized
from exporter.quantization.store.origins import Origin
from exporter.schemes import (
    FP16,
    INT4_CHANNEL,
    INT4_G32,
    INT8_CHANNEL,
    Scheme,
    scheme_holding,
)
from tests.fakes import silent
from tests.holding_source import HoldingSource
from tests.tiny import tiny_gemma3

EMBEDDING = "model.embed_tokens.weight"
UP, DOWN = "model.layers.3.mlp.up_proj.weight", "model.layers.3.mlp.down_proj.weight"
KINDS = ("Q4_0", "Q5_0", "Q8_0", "Q6_K")


@dataclass(frozen=True)
class WatchedSource(HoldingSource):
    """Refuses to give values of what it holds as codes, and can be made to die before one matrix."""

    dies_at: str | None = None

    def rows(self, name: str, start: int, stop: int) -> NDArray[np.float32]:
        assert name not in self.held, f"{name} was read as values"
        return super().rows(name, start, stop)

    def codes(self, name: str, start: int, stop: int) -> tuple[Codes, CodeScales]:
        if name == self.dies_at:
            raise KeyboardInterrupt
        return super().codes(name, start, stop)


def as_held(source: HoldingSource) -> dict[str, Scheme]:
    """The scheme of what is held; the embedding is floating point and becomes int8."""
    held = {name: scheme for name, each in source.held.items() if (scheme := scheme_holding(each))}
    return {**held, EMBEDDING: INT8_CHANNEL}


def files(directory: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in sorted(directory.iterdir())}


def test_codes_and_scales_are_the_sources_bit_for_bit(tmp_path: Path) -> None:
    source = WatchedSource(tiny_gemma3(), kinds=KINDS)
    schemes, kept = as_held(source), frozenset(source.held)
    opened = write_quantized(source, schemes, tmp_path / "q", silent, kept)
    negative = 0
    for name in kept:
        matrix, (_, codes, scales) = opened.matrices[name], source.stored[name]
        assert isinstance(matrix, IntegerMatrix)
        assert matrix.scales(0, 1).dtype == scales.dtype
        np.testing.assert_array_equal(matrix.codes(0, len(codes)), codes)
        np.testing.assert_array_equal(matrix.scales(0, len(codes)), scales)
        np.testing.assert_array_equal(matrix.values(0, len(codes)), source.weights[name])
        negative += int((scales < 0).sum())
    assert negative > 100
    expected = quantize_rows(source.weights[EMBEDDING], INT8_CHANNEL).codes
    embedding = opened.matrices[EMBEDDING]
    assert isinstance(embedding, IntegerMatrix)
    np.testing.assert_array_equal(embedding.codes(0, len(expected)), expected)


def test_the_same_scheme_is_requantised_where_the_plan_says_so(tmp_path: Path) -> None:
    source = HoldingSource(tiny_gemma3())
    opened = write_quantized(source, as_held(source), tmp_path / "q", silent, frozenset({UP}))
    kept, found = opened.matrices[UP], opened.matrices[DOWN]
    assert isinstance(kept, IntegerMatrix)
    assert isinstance(found, IntegerMatrix)
    assert (kept.scales(0, kept.shape[0]) < 0).any()
    assert (found.scales(0, found.shape[0]) > 0).all()
    np.testing.assert_array_equal(
        found.codes(0, found.shape[0]),
        quantize_rows(source.weights[DOWN], INT4_G32).codes,
    )


def test_a_scale_of_0_becomes_a_small_one_over_codes_of_0(tmp_path: Path) -> None:
    source = HoldingSource(tiny_gemma3())
    kind, codes, scales = source.stored[UP]
    zeroed = scales.copy()
    zeroed[2, 1], zeroed[3, 0] = 0.0, -0.0
    assert codes[2, 32:].any()
    source.stored[UP] = (kind, codes, zeroed)
    matrix = write_quantized(source, as_held(source), tmp_path / "q", silent, frozenset({UP})).matrices[UP]
    assert isinstance(matrix, IntegerMatrix)
    assert (matrix.scales(0, len(codes)) != 0).all()
    assert matrix.scales(2, 3)[0, 1] == matrix.scales(3, 4)[0, 0] == ZERO_GROUP_SCALE
    expected = codes.reshape(len(codes), -1, 32) * zeroed[..., None].astype(np.float32)
    np.testing.assert_array_equal(matrix.values(0, len(codes)), expected.reshape(codes.shape))


def test_the_record_says_how_each_matrix_came_to_be(tmp_path: Path) -> None:
    source = HoldingSource(tiny_gemma3(), kinds=("Q4_0", "Q6_K"))
    linears = list(source.held)
    taken, found, floats = linears[0], linears[1], linears[2]
    schemes: dict[str, Scheme] = dict.fromkeys(linears, INT4_G32)
    schemes |= {floats: FP16, EMBEDDING: INT8_CHANNEL}
    opened = write_quantized(source, schemes, tmp_path / "q", silent, frozenset({taken}))
    assert opened.origins[taken] == Origin("taken over", "Q4_0")
    assert opened.origins[found] == Origin("requantised", "Q6_K")
    assert opened.origins[floats] == Origin("dequantised", "Q4_0")
    assert opened.origins[EMBEDDING] == Origin("quantised", "F32")
    assert open_quantized(tmp_path / "q").origins == opened.origins
    again = {**schemes, EMBEDDING: FP16}
    kept = write_quantized(source, again, tmp_path / "r", silent, frozenset({taken})).origins
    assert kept[EMBEDDING] == Origin("kept as floats", "F32")


@pytest.mark.parametrize("dies_at", [UP, "model.layers.6.mlp.down_proj.weight"])
def test_a_run_stopped_anywhere_is_resumed_to_the_same_bytes(tmp_path: Path, dies_at: str) -> None:
    source = WatchedSource(tiny_gemma3(), kinds=KINDS)
    schemes, kept = as_held(source), frozenset(source.held)
    write_quantized(source, schemes, tmp_path / "whole", silent, kept)
    with pytest.raises(KeyboardInterrupt):
        write_quantized(replace(source, dies_at=dies_at), schemes, tmp_path / "q", silent, kept)
    before = {path.name: path.stat().st_mtime_ns for path in (tmp_path / "q").glob("*.safetensors")}
    assert before
    write_quantized(source, schemes, tmp_path / "q", silent, kept)
    assert files(tmp_path / "q") == files(tmp_path / "whole")
    assert all((tmp_path / "q" / name).stat().st_mtime_ns == when for name, when in before.items())


def test_matrices_taken_over_and_requantised_are_never_mixed(tmp_path: Path) -> None:
    source = HoldingSource(tiny_gemma3())
    schemes = as_held(source)
    write_quantized(source, schemes, tmp_path / "q", silent, frozenset(source.held))
    write_quantized(source, schemes, tmp_path / "q", silent)
    write_quantized(source, schemes, tmp_path / "fresh", silent)
    assert files(tmp_path / "q") == files(tmp_path / "fresh")


@pytest.mark.parametrize("scheme", [INT4_CHANNEL, INT8_CHANNEL, FP16])
def test_codes_are_not_taken_over_as_another_scheme(tmp_path: Path, scheme: Scheme) -> None:
    source = HoldingSource(tiny_gemma3())
    schemes = {**as_held(source), UP: scheme}
    with pytest.raises(PlanError, match=f"{UP}: .* as {scheme.name}, which the source does not hold"):
        write_quantized(source, schemes, tmp_path / "q", silent, frozenset({UP}))
    assert not (tmp_path / "q").exists()


def test_a_scale_fp16_does_not_have_is_never_rounded(tmp_path: Path) -> None:
    source = HoldingSource(tiny_gemma3())
    kind, codes, scales = source.stored[UP]
    source.stored[UP] = (kind, codes, scales.astype(np.float32) * np.float32(1.0001))
    with pytest.raises(CheckpointError, match="has a scale that int4-g32 cannot keep exactly"):
        write_quantized(source, as_held(source), tmp_path / "q", silent, frozenset({UP}))


def test_a_record_of_the_schema_before_is_not_read(tmp_path: Path) -> None:
    source = HoldingSource(tiny_gemma3())
    write_quantized(source, as_held(source), tmp_path / "q", silent)
    path = tmp_path / "q" / "quantized.json"
    record = json.loads(path.read_text(encoding="utf-8"))
    del record["origins"]
    path.write_text(json.dumps({**record, "schema_version": 1}), encoding="utf-8")
    with pytest.raises(QuantizedCheckpointError, match="another schema version"):
        open_quantized(tmp_path / "q")
