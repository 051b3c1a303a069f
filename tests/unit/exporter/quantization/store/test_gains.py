"""Gains that half precision holds, in every family, equalised or not; exact where fp32 is asked for."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from exporter.checkpoints.interface import CheckpointSource
from exporter.errors import CheckpointError
from exporter.models.text.spec import COLUMNS_NAME
from exporter.planning.recipe import Equalization
from exporter.quantization.quantize import write_quantized
from exporter.quantization.store.gains import FINAL_NORM, stored_vectors
from exporter.quantization.transforms.equalization import equalize
from exporter.reference.activations import input_sizes
from exporter.schemes import FP16, FP32, INT8_CHANNEL, Scheme
from tests.fakes import silent
from tests.tiny import TINY_CONFIGS, RandomSource, tiny_gemma3, tiny_gemma4_12b

HOW = Equalization(weights=0.25, activations=0.5, embedding=1.0, reason="as the int8 recipe")


def everywhere(source: CheckpointSource, scheme: Scheme) -> dict[str, Scheme]:
    return {weight.name: scheme for weight in source.components["text"].weights if weight.is_matrix}


@pytest.mark.parametrize("family", TINY_CONFIGS)
def test_what_the_decoder_multiplies_by_is_half_precision(family: str, tmp_path: Path) -> None:
    source = RandomSource(TINY_CONFIGS[family]())
    gains = (
        write_quantized(source, everywhere(source, INT8_CHANNEL), tmp_path, silent)
        .components["text"]
        .gains()
    )
    adds_one = source.components["text"].spec.norm_adds_one
    added = {name: 0.0 if "scalar" in name else float(adds_one) for name in gains}
    assert gains
    for name, gain in gains.items():
        exact = source.weights[name] + np.float32(added[name])
        np.testing.assert_array_equal(gain, exact.astype(np.float16))


@pytest.mark.parametrize("config", [tiny_gemma3(), tiny_gemma4_12b()], ids=["1 + w", "w"])
def test_equalised_gains_are_too_and_the_last_one_with_the_embeddings_columns(
    config: dict[str, object], tmp_path: Path
) -> None:
    base = RandomSource(config)
    base.weights["model.embed_tokens.weight"][:, 5] *= 40.0
    source = equalize(base, input_sizes(base, np.arange(6, 70, dtype=np.int32), silent), HOW)
    gains = (
        write_quantized(source, everywhere(source, INT8_CHANNEL), tmp_path, silent)
        .components["text"]
        .gains()
    )
    columns = source.rows(COLUMNS_NAME, 0, source.components["text"].spec.hidden_size)
    assert len(np.unique(columns)) > 1
    for name, gain in gains.items():
        halves = gain.astype(np.float16).astype(np.float32)
        # The final gain is divided by the columns and multiplied again: fp32's last bit may differ.
        np.testing.assert_allclose(gain, halves, rtol=2e-7 if name == FINAL_NORM else 0, atol=1e-7)
    np.testing.assert_array_equal(gains[COLUMNS_NAME], columns)
    final = base.weights[FINAL_NORM] + np.float32(base.components["text"].spec.norm_adds_one)
    np.testing.assert_allclose(gains[FINAL_NORM], final * columns, rtol=2**-11)


def test_who_asks_for_fp32_gets_exact_gains() -> None:
    source = RandomSource(tiny_gemma3())
    schemes = everywhere(source, FP16)
    name = "model.layers.0.input_layernorm.weight"
    assert (stored_vectors(source, schemes)[name] != source.weights[name]).any()
    exact = stored_vectors(source, schemes | {"model.layers.3.mlp.up_proj.weight": FP32})
    for vector, values in exact.items():
        np.testing.assert_array_equal(values, source.weights[vector])


def test_a_gain_beyond_half_precision_is_refused_by_name() -> None:
    source = RandomSource(tiny_gemma3())
    source.weights["model.layers.1.self_attn.q_norm.weight"][3] = 7e4
    with pytest.raises(CheckpointError, match=r"layers\.1\.self_attn\.q_norm\.weight: a gain of 7e\+04"):
        stored_vectors(source, everywhere(source, FP16))


def test_the_sources_weights_stay_as_they_are() -> None:
    source = RandomSource(tiny_gemma3())
    before = {name: values.copy() for name, values in source.weights.items()}
    stored_vectors(source, everywhere(source, FP16))
    for name, values in before.items():
        np.testing.assert_array_equal(source.weights[name], values)
