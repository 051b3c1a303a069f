"""Tensors of image towers: what is missing, unknown or there twice, and numbers without end."""

from __future__ import annotations

import json
import math
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file

from exporter.checkpoints.huggingface import tensor_views
from exporter.checkpoints.huggingface.source import HuggingFaceSource
from exporter.errors import CheckpointError
from exporter.models.components import TEXT_ALONE
from tests.tiny_image_stores import write_tiny_multimodal
from tests.tiny_towers import TINY_TOWERS

LAYER = "model.vision_tower.encoder.layers.1.self_attn"
SIGLIP = "vision_tower.vision_model.encoder.layers.0.mlp.fc1"


def edited(directory: Path, kind: str, **changed: torch.Tensor | None) -> Path:
    """A checkpoint with tensors added, replaced, or taken away where they are None."""
    write_tiny_multimodal(directory, kind)
    path = directory / "model.safetensors"
    stored = load_file(path)
    for name, tensor in changed.items():
        if tensor is None:
            del stored[name]
        else:
            stored[name] = tensor
    save_file(stored, path)
    return directory


@pytest.mark.parametrize(
    ("kind", "name", "tensor", "what"),
    [
        ("Gemma 3", f"{SIGLIP}.bias", None, r"tensor vision_tower\.encoder\.layers\.0\.mlp\.fc1\.bias is"),
        ("Gemma 3", "multi_modal_projector.mm_input_projection_weight", None, "mm_input_projection.weight"),
        ("Gemma 3", f"{SIGLIP}.scale", torch.ones(4), "not part of a siglip_vision_model"),
        ("Gemma 3", f"{SIGLIP}.weight", torch.ones(112, 63), r"shape \[112, 63\], config.json says"),
        ("Gemma 3", "vision_tower.encoder.layers.0.mlp.fc1.bias", torch.ones(112), "are the same weight"),
        ("Gemma 4 E2B", f"{LAYER}.q_proj.input_max", None, r"q_proj\.input_max is missing"),
        (
            "Gemma 4 E2B",
            "model.vision_tower.patch_embedder.position_embedding_table",
            torch.ones(256, 64),
            r"position_embedding_table\.x and 1 more are missing",
        ),
        ("Gemma 4 31B", "model.vision_tower.std_scale", None, "std_scale is missing"),
        ("Gemma 4 31B", f"{LAYER}.q_proj.input_max", torch.ones(()), "not part of a gemma4_vision"),
        ("Gemma 4 12B", "model.vision_embedder.pos_embedding", None, r"pos_embedding\.x and 1 more are"),
        (
            "Gemma 4 12B",
            "model.vision_embedder.patch_ln3.bias",
            torch.ones(4),
            "ln3.bias is not part",
        ),
    ],
)
def test_a_tower_has_exactly_its_tensors(
    kind: str, name: str, tensor: torch.Tensor | None, what: str, tmp_path: Path
) -> None:
    edited(tmp_path, kind, **{name: tensor})
    with pytest.raises(CheckpointError, match=what):
        HuggingFaceSource.open(tmp_path)
    assert set(HuggingFaceSource.open(tmp_path, TEXT_ALONE).components) == {"text"}


def test_a_bound_without_end_is_the_largest_number(tmp_path: Path) -> None:
    name = f"{LAYER}.q_proj.input_min"
    source = HuggingFaceSource.open(edited(tmp_path, "Gemma 4 E2B", **{name: torch.tensor(-math.inf)}))
    (found,) = source.rows(name.removeprefix("model."), 0, 1)
    assert found == -np.finfo(np.float32).max


@pytest.mark.parametrize(
    ("name", "tensor"),
    [
        (f"{LAYER}.q_proj.input_min", torch.tensor(math.nan)),
        (f"{LAYER}.q_norm.weight", torch.full((16,), math.inf)),
    ],
)
def test_what_is_no_number_is_refused_when_it_is_read(
    name: str, tensor: torch.Tensor, tmp_path: Path
) -> None:
    source = HuggingFaceSource.open(edited(tmp_path, "Gemma 4 E2B", **{name: tensor}))
    with pytest.raises(CheckpointError, match=r"holds (nan|inf)"):
        source.rows(name.removeprefix("model."), 0, 1)


def test_a_pooling_head_that_gemma_does_not_use_is_left_out(tmp_path: Path) -> None:
    head = {"vision_tower.vision_model.head.probe": torch.ones(1, 1, 64)}
    source = HuggingFaceSource.open(edited(tmp_path, "Gemma 3", **head))
    assert source.left_out == ("pooling head of the vision tower, which Gemma does not use, 64 parameters",)


def test_a_transposed_projection_is_read_a_few_rows_at_a_time(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tensor_views, "AT_ONCE", 3 * 64 * 4)
    source = HuggingFaceSource.open(write_tiny_multimodal(tmp_path, "Gemma 3"))
    name = "multi_modal_projector.mm_input_projection.weight"
    expected = TINY_TOWERS["Gemma 3"]().weights[name].numpy()
    np.testing.assert_array_equal(source.rows(name, 5, 20), expected[5:20])


def test_tensors_beside_a_tower_that_config_json_does_not_have_are_left_out(tmp_path: Path) -> None:
    write_tiny_multimodal(tmp_path, "Gemma 4 12B")
    path = tmp_path / "config.json"
    config = json.loads(path.read_text(encoding="utf-8"))
    del config["vision_config"]
    path.write_text(json.dumps(config), encoding="utf-8")
    source = HuggingFaceSource.open(tmp_path)
    assert set(source.components) == {"text"}
    assert source.left_out[0].startswith("vision embedder, ")
