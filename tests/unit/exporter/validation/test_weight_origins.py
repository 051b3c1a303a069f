"""Counting how matrices came to be: alike ones together, refusals apart."""

from __future__ import annotations

from pathlib import Path

from exporter.quantization.quantize import write_quantized
from exporter.schemes import INT4_G32, INT8_CHANNEL, Scheme
from exporter.validation.weight_origins import WeightOrigin, weight_origins
from tests.fakes import silent
from tests.holding_source import HoldingSource
from tests.tiny import tiny_gemma3

EMBEDDING = "model.embed_tokens.weight"


def test_every_matrix_is_counted_once_by_kind(tmp_path: Path) -> None:
    source = HoldingSource(tiny_gemma3(), kinds=("Q4_0", "Q6_K"))
    q4 = [name for name, held in source.held.items() if held.bits == 4]
    q6 = [name for name, held in source.held.items() if held.bits == 8]
    kept, refused = q4[:-3], q4[-3:]
    schemes: dict[str, Scheme] = dict.fromkeys(source.held, INT4_G32)
    schemes[EMBEDDING] = INT8_CHANNEL
    checkpoint = write_quantized(source, schemes, tmp_path, silent, frozenset(kept))
    assert weight_origins(checkpoint, dict.fromkeys(refused, "a runtime is in the way")) == (
        WeightOrigin("quantised", "F32", "int8-channel", 1, None),
        WeightOrigin("taken over", "Q4_0", "int4-g32", len(kept), None),
        WeightOrigin("requantised", "Q6_K", "int4-g32", len(q6), None),
        WeightOrigin("requantised", "Q4_0", "int4-g32", 3, "a runtime is in the way"),
    )
