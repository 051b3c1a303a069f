"""Full checkpoints as trainers leave them: wrapped names, buffers of old versions, a value head."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file

from exporter.checkpoints.huggingface.source import HuggingFaceSource
from exporter.errors import CheckpointError
from tests.unit.exporter.checkpoints.written_checkpoints import tiny_source, write_huggingface

WEIGHTS = "model.safetensors"
UP = "model.layers.3.mlp.up_proj.weight"
VALUE_HEAD = {"v_head.summary.weight": torch.ones(1, 64), "v_head.summary.bias": torch.ones(1)}
FREQUENCIES = {
    "model.rotary_emb.inv_freq": torch.ones(8),
    "model.rotary_emb_local.inv_freq": torch.ones(8),
    "model.layers.0.self_attn.rotary_emb.inv_freq": torch.ones(8),
}


@pytest.fixture
def directory(tmp_path: Path) -> Path:
    return write_huggingface(tiny_source(), tmp_path / "tiny")


def add(directory: Path, tensors: dict[str, torch.Tensor]) -> None:
    save_file(load_file(directory / WEIGHTS) | tensors, directory / WEIGHTS)


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("model.", "module.model."),
        ("model.", "_orig_mod.model."),
        ("model.", "module._orig_mod.model."),
        ("model.", "_orig_mod."),
        ("model.", "_fsdp_wrapped_module.model._fsdp_wrapped_module."),
        (".mlp.", "._checkpoint_wrapped_module.mlp."),
        ("model.", "module.model.language_model."),
    ],
)
def test_what_wrapped_the_model_in_training_is_dropped_from_names(
    directory: Path, old: str, new: str
) -> None:
    expected = HuggingFaceSource.open(directory)
    rows = expected.rows(UP, 3, 9)
    stored = load_file(directory / WEIGHTS)
    save_file({name.replace(old, new, 1): tensor for name, tensor in stored.items()}, directory / WEIGHTS)
    source = HuggingFaceSource.open(directory)
    assert source.tensors == expected.tensors
    np.testing.assert_array_equal(source.rows(UP, 3, 9), rows)


def test_a_weight_that_is_there_wrapped_and_bare_is_refused(directory: Path) -> None:
    add(directory, {f"module.{UP}": load_file(directory / WEIGHTS)[UP]})
    with pytest.raises(CheckpointError, match="are the same weight"):
        HuggingFaceSource.open(directory)


def test_a_value_head_and_stored_frequencies_are_left_out_and_named(directory: Path) -> None:
    expected = HuggingFaceSource.open(directory).tensors
    add(directory, VALUE_HEAD | FREQUENCIES)
    source = HuggingFaceSource.open(directory)
    assert source.tensors == expected
    assert source.left_out == (
        "rotary frequencies, which are computed, 24 parameters",
        "value head, 65 parameters",
    )


def test_wrapped_ones_are_left_out_too(directory: Path) -> None:
    stored = load_file(directory / WEIGHTS) | VALUE_HEAD
    save_file({f"module.{name}": tensor for name, tensor in stored.items()}, directory / WEIGHTS)
    assert HuggingFaceSource.open(directory).left_out == ("value head, 65 parameters",)


def test_transformers_does_without_them_too(directory: Path) -> None:
    from transformers import AutoModelForCausalLM

    add(directory, VALUE_HEAD | FREQUENCIES)
    _, info = AutoModelForCausalLM.from_pretrained(directory, output_loading_info=True)
    assert not info["missing_keys"]
    assert set(info["unexpected_keys"]) <= {*VALUE_HEAD, *FREQUENCIES}


def test_another_head_beside_is_still_refused(directory: Path) -> None:
    add(directory, {"score.weight": torch.ones(2, 64)})
    with pytest.raises(CheckpointError, match=r"tensor score\.weight is not part of"):
        HuggingFaceSource.open(directory)
