"""Checkpoints that compressed-tensors packed: read to the bit as the library reads them, or refused.

Matrix: groups of 32 with scales in bf16, fp16 and fp32, 8 bits by group and by row, shards that part
the tensors of a matrix, both layouts of checkpoints with towers, and our own quantised checkpoint.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from compressed_tensors.quantization import QuantizationArgs
from safetensors.torch import load_file, save_file

from exporter.checkpoints.huggingface.source import HuggingFaceSource
from exporter.checkpoints.interface import HeldCodes
from exporter.errors import CheckpointError
from exporter.models.components import TEXT_ALONE
from exporter.models.text.spec import Role
from exporter.quantization.quantize import write_quantized
from exporter.quantization.store.checkpoint import IntegerMatrix
from exporter.schemes import FP16, INT4_G32, INT8_CHANNEL, INT8_G32, IntegerScheme, Scheme
from tests.fakes import silent
from tests.holding_source import dequantised
from tests.tiny import RandomSource, tiny_gemma3, tiny_gemma4_e2b, write_tiny_tokenizer
from tests.unit.exporter.checkpoints.multimodal_checkpoints import (
    LAYOUTS,
    Layout,
    multimodal_config,
    stored_name,
)
from tests.unit.exporter.checkpoints.packed_checkpoints import W4A16, Packed, write_packed

UP = "model.layers.3.mlp.up_proj.weight"
GROUPS_OF_8_BITS = QuantizationArgs(num_bits=8, symmetric=True, strategy="group", group_size=32)
ROWS_OF_8_BITS = QuantizationArgs(num_bits=8, symmetric=True, strategy="channel")

CASES: dict[str, tuple[QuantizationArgs, torch.dtype, HeldCodes]] = {
    "w4a16": (W4A16, torch.bfloat16, HeldCodes(4, 32, 16, False)),
    "fp16 scales": (W4A16, torch.float16, HeldCodes(4, 32, 16, False)),
    "fp32 scales": (W4A16, torch.float32, HeldCodes(4, 32, 32, False)),
    "8-bit groups": (GROUPS_OF_8_BITS, torch.bfloat16, HeldCodes(8, 32, 16, False)),
    "8-bit rows": (ROWS_OF_8_BITS, torch.bfloat16, HeldCodes(8, None, 16, False)),
}


def linears(source: HuggingFaceSource) -> list[str]:
    return [weight.name for weight in source.components["text"].weights if weight.role is Role.LINEAR]


def assert_reads_what_the_library_reads(source: HuggingFaceSource, packed: Packed) -> None:
    assert set(source.tensors) == set(packed.values)
    for name, values in packed.values.items():
        rows = source.rows(name, 0, values.shape[0])
        assert rows.dtype == np.float32
        np.testing.assert_array_equal(rows, values.numpy(), err_msg=name)
    assert set(source.held) == set(linears(source))
    for name in source.held:
        codes, scales = source.codes(name, 3, 17)
        np.testing.assert_array_equal(dequantised(codes, scales), packed.values[name][3:17].numpy())


@pytest.mark.parametrize("case", CASES)
def test_codes_and_values_are_the_librarys_own(tmp_path: Path, case: str) -> None:
    weights, dtype, held = CASES[case]
    packed = write_packed(tmp_path, weights=weights, scale_dtype=dtype)
    source = HuggingFaceSource.open(tmp_path)
    assert_reads_what_the_library_reads(source, packed)
    assert set(source.held.values()) == {held}
    assert "quantization_config" not in source.architecture
    assert source.tensors[UP].dtype == f"int{held.bits} pack-quantized"


def test_shards_may_part_the_tensors_of_a_matrix(tmp_path: Path) -> None:
    packed = write_packed(tmp_path, shards=5)
    source = HuggingFaceSource.open(tmp_path)
    assert_reads_what_the_library_reads(source, packed)
    assert {name for name in source.digests() if name.endswith(".safetensors")} == {
        path.name for path in tmp_path.glob("*.safetensors")
    }


@pytest.mark.parametrize("layout", LAYOUTS)
def test_the_text_model_of_a_checkpoint_with_towers_is_found(tmp_path: Path, layout: Layout) -> None:
    """With E2B's unused projections, packed: they are left out and counted as the weights they are."""
    config = tiny_gemma4_e2b()
    unused = {
        f"{stored_name('model.layers.9.self_attn.k_proj', layout)}.weight_packed": torch.zeros(
            32, 8, dtype=torch.int32
        ),
        f"{stored_name('model.layers.9.self_attn.k_proj', layout)}.weight_scale": torch.ones(32, 2),
        f"{stored_name('model.layers.9.self_attn.k_proj', layout)}.weight_shape": torch.tensor([32, 64]),
    }
    packed = write_packed(
        tmp_path,
        config=config,
        whole_config=lambda text: multimodal_config("gemma4", text),
        rename=lambda name: stored_name(name, layout),
        extra=unused,
    )
    source = HuggingFaceSource.open(tmp_path, TEXT_ALONE)  # the towers themselves are not in the file
    assert not source.components["text"].spec.layers[9].owns_cache
    assert_reads_what_the_library_reads(source, packed)
    assert [part for part in source.left_out if "2,048 parameters" in part]


def test_a_scale_below_0_is_noticed(tmp_path: Path) -> None:
    write_packed(tmp_path)
    path = tmp_path / "model.safetensors"
    tensors = load_file(path)
    tensors[f"{UP}_scale"][3, 1] *= -1
    tensors[f"{UP.replace('layers.3', 'layers.4')}_scale"][3, 1] = 0  # taken over as a small one
    save_file(tensors, path, {"format": "pt"})
    held = HuggingFaceSource.open(tmp_path).held
    assert [name for name, each in held.items() if each.negative] == [UP]


def test_a_scale_fp16_does_not_have_is_noticed(tmp_path: Path) -> None:
    """A bf16 far below fp16's smallest number; all others of the matrix are fine."""
    write_packed(tmp_path)
    path = tmp_path / "model.safetensors"
    tensors = load_file(path)
    tensors[f"{UP}_scale"][3, 1] = 2.0**-30
    save_file(tensors, path, {"format": "pt"})
    source = HuggingFaceSource.open(tmp_path)
    assert [name for name, each in source.held.items() if each.scale_bits == 32] == [UP]
    codes, scales = source.codes(UP, 0, 8)
    np.testing.assert_array_equal(dequantised(codes, scales), source.rows(UP, 0, 8))


def test_a_scale_that_is_no_number_is_refused(tmp_path: Path) -> None:
    write_packed(tmp_path)
    path = tmp_path / "model.safetensors"
    tensors = load_file(path)
    tensors[f"{UP}_scale"][3, 1] = float("nan")
    save_file(tensors, path, {"format": "pt"})
    source = HuggingFaceSource.open(tmp_path)
    with pytest.raises(CheckpointError, match=f"{UP}_scale holds nan at \\[3, 1\\]"):
        source.held.items()


@pytest.mark.parametrize("scheme", [INT4_G32, INT8_G32, INT8_CHANNEL])
def test_our_own_quantised_checkpoint_is_such_a_checkpoint(tmp_path: Path, scheme: IntegerScheme) -> None:
    """With an embedding in floating point: a quantised one is kept from other loaders."""
    random = RandomSource(tiny_gemma3())
    schemes: dict[str, Scheme] = {
        weight.name: scheme if weight.role is Role.LINEAR else FP16
        for weight in random.components["text"].weights
        if weight.is_matrix
    }
    written = write_quantized(random, schemes, tmp_path, silent)
    write_tiny_tokenizer(tmp_path)
    source = HuggingFaceSource.open(tmp_path)
    assert set(source.held.values()) == {HeldCodes(scheme.bits, scheme.group, 16, False)}
    for name in source.held:
        matrix = written.matrices[name]
        assert isinstance(matrix, IntegerMatrix)
        codes, scales = source.codes(name, 0, matrix.shape[0])
        np.testing.assert_array_equal(codes, matrix.codes(0, matrix.shape[0]))
        np.testing.assert_array_equal(scales, matrix.scales(0, matrix.shape[0]))


def _without(name: str) -> Callable[[dict[str, torch.Tensor]], None]:
    def change(tensors: dict[str, torch.Tensor]) -> None:
        del tensors[name]

    return change


def _replaced(name: str, tensor: torch.Tensor) -> Callable[[dict[str, torch.Tensor]], None]:
    def change(tensors: dict[str, torch.Tensor]) -> None:
        tensors[name] = tensor

    return change


@pytest.mark.parametrize(
    ("change", "complaint"),
    [
        (_without(f"{UP}_scale"), f"tensor {UP}_scale is missing"),
        (_without(f"{UP}_shape"), f"tensor {UP}_shape is missing"),
        (_without(f"{UP}_packed"), "tensor .* is missing|tensors .* are missing"),
        (_replaced(f"{UP}_shape", torch.tensor([128.0, 64.0])), "_shape is not two I64 numbers"),
        (_replaced(f"{UP}_shape", torch.tensor([128, 32])), "as no group of config.json would"),
        (_replaced(f"{UP}_shape", torch.tensor([0, 0])), "as no group of config.json would"),
        (_replaced(f"{UP}_scale", torch.ones(128, 1)), r"F32 scales \[128, 1\], as no group"),
        (_replaced(f"{UP}_scale", torch.ones(128, 2, dtype=torch.int32)), "I32 scales"),
        (_replaced(f"{UP}_packed", torch.ones(128, 8)), "has F32 codes"),
        (
            _replaced(UP.replace(".weight", ".weight_zero_point"), torch.ones(16, 2, dtype=torch.int32)),
            "weight_zero_point is not part of",
        ),
    ],
)
def test_tensors_that_do_not_fit_together_are_refused(
    tmp_path: Path, change: Callable[[dict[str, torch.Tensor]], None], complaint: str
) -> None:
    write_packed(tmp_path)
    path = tmp_path / "model.safetensors"
    tensors = load_file(path)
    change(tensors)
    save_file(tensors, path, {"format": "pt"})
    with pytest.raises(CheckpointError, match=complaint) as caught:
        HuggingFaceSource.open(tmp_path)
    assert str(tmp_path) in caught.value.where


def _top(**changes: Any) -> Callable[[dict[str, Any]], None]:
    return lambda quantised: quantised.update(changes)


def _group(**changes: Any) -> Callable[[dict[str, Any]], None]:
    return lambda quantised: quantised["config_groups"]["group_0"].update(changes)


def _weights(**changes: Any) -> Callable[[dict[str, Any]], None]:
    return lambda quantised: quantised["config_groups"]["group_0"]["weights"].update(changes)


@pytest.mark.parametrize(
    ("change", "complaint"),
    [
        (_top(quant_method="gemma"), "is 'gemma': Google's mobile format"),
        (_top(quant_method="awq"), "is 'awq': a format that is not read; give the unquantised checkpoint"),
        (_top(quant_method=None), "is None: unknown"),
        (_top(format="int-quantized"), "format: is 'int-quantized', only 'pack-quantized'"),
        (_top(quantization_status="frozen"), "'frozen': weights that are not packed; save"),
        (_top(kv_cache_scheme={"num_bits": 8}), "kv_cache_scheme: is more than quantised weights"),
        (_top(transform_config={"config_groups": {"a": 1}}), "transform_config: is more than"),
        (_top(config_groups={}), "config_groups: names no group"),
        (_top(config_groups={"W4A16": ["Linear"]}), "config_groups.W4A16: has no weights to read"),
        (_top(lattice=True), "lattice: may change what the codes stand for; use a newer gemma-export"),
        (_group(input_activations={"num_bits": 8}), "has input_activations: activations quantised"),
        (_group(weights=None), "group_0: has no weights to read"),
        (_group(format="naive-quantized"), "has format 'naive-quantized'"),
        (_weights(symmetric=False), "group_0: is asymmetric"),
        (_weights(actorder="group"), "has actorder 'group': groups of columns that are not neighbours"),
        (_weights(num_bits=3), "has 3-bit weights of type 'int', not int4 or int8"),
        (_weights(type="float", num_bits=8), "has 8-bit weights of type 'float'"),
        (_weights(strategy="tensor"), "has strategy 'tensor'"),
        (_weights(group_size=None), "has group_size None"),
        (_weights(dynamic=True), "has dynamic weight scales"),
    ],
)
def test_what_cannot_be_read_as_it_is_is_refused_by_name(
    tmp_path: Path, change: Callable[[dict[str, Any]], None], complaint: str
) -> None:
    write_packed(tmp_path)
    path = tmp_path / "config.json"
    config = json.loads(path.read_text(encoding="utf-8"))
    change(config["quantization_config"])
    path.write_text(json.dumps(config), encoding="utf-8")
    with pytest.raises(CheckpointError, match=complaint) as caught:
        HuggingFaceSource.open(tmp_path)
    assert f"{path}: quantization_config" in caught.value.where
    assert caught.value.then


def test_an_order_of_rounding_that_left_columns_in_place_changes_nothing(tmp_path: Path) -> None:
    packed = write_packed(tmp_path, weights=W4A16.model_copy(update={"actorder": "weight"}))
    assert_reads_what_the_library_reads(HuggingFaceSource.open(tmp_path), packed)
