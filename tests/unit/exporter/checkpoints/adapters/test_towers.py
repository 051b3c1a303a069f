"""Adapters of models that see, whose image tower is exported too and is no part of a merge."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pytest

from exporter.checkpoints.adapters.source import LoraSource
from exporter.checkpoints.huggingface.source import HuggingFaceSource
from exporter.errors import CheckpointError, SpecError, TokenizerError
from exporter.models.components import TEXT_ALONE
from tests.tiny import write_tiny_tokenizer
from tests.tiny_image_stores import write_tiny_multimodal
from tests.tiny_towers import END, SOFT
from tests.unit.exporter.checkpoints.adapters.written_adapters import OUTER, factors, values, write_adapter

PATCH = f"{OUTER}model.vision_tower.vision_model.encoder.layers.0.self_attn.q_proj"
BEGUN = {f"{PATCH}.lora_A.weight": values(4, 64), f"{PATCH}.lora_B.weight": np.zeros((64, 4), np.float32)}
CHANGED = BEGUN | {f"{PATCH}.lora_B.weight": values(64, 4)}


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_tiny_multimodal(tmp_path_factory.mktemp("seeing"), "Gemma 3")


@pytest.mark.parametrize("text", [factors(), {}])
def test_an_adapter_that_changes_an_exported_tower_is_refused(
    text: dict[str, np.ndarray], checkpoint: Path, tmp_path: Path
) -> None:
    adapter = write_adapter(tmp_path, {**text, **CHANGED})
    with pytest.raises(CheckpointError, match="changes the vision tower") as caught:
        LoraSource.open(HuggingFaceSource.open(checkpoint), adapter)
    assert "--components text" in caught.value.then


def test_it_is_merged_into_the_text_where_that_alone_is_exported(checkpoint: Path, tmp_path: Path) -> None:
    adapter = write_adapter(tmp_path, {**factors(), **CHANGED})
    source = LoraSource.open(HuggingFaceSource.open(checkpoint, TEXT_ALONE), adapter)
    assert any("adapter's part of the vision tower" in each for each in source.left_out)


def test_a_tokenizer_beside_it_that_has_no_place_for_pictures_is_refused(
    checkpoint: Path, tmp_path: Path
) -> None:
    adapter = write_adapter(tmp_path, factors())
    for name in ("tokenizer.json", "tokenizer_config.json"):
        shutil.copyfile(checkpoint / name, adapter / name)
    base = HuggingFaceSource.open(checkpoint)
    assert LoraSource.open(base, adapter).images == base.images
    write_tiny_tokenizer(adapter)
    with pytest.raises(TokenizerError, match=f"lacks token {SOFT}, which stands with images"):
        LoraSource.open(base, adapter)
    assert LoraSource.open(HuggingFaceSource.open(checkpoint, TEXT_ALONE), adapter).images is None


def test_an_end_of_text_that_stands_with_pictures_is_refused(checkpoint: Path, tmp_path: Path) -> None:
    adapter = write_adapter(tmp_path, factors())
    (adapter / "generation_config.json").write_text(
        json.dumps({"eos_token_id": [1, END]}), encoding="utf-8"
    )
    with pytest.raises(SpecError, match=f"has token {END} for images, and it is one that ends an answer"):
        LoraSource.open(HuggingFaceSource.open(checkpoint), adapter)


def test_factors_of_a_tower_that_was_not_trained_change_nothing(checkpoint: Path, tmp_path: Path) -> None:
    adapter = write_adapter(tmp_path, {**factors(), **BEGUN})
    source = LoraSource.open(HuggingFaceSource.open(checkpoint), adapter)
    assert source.components.vision is not None
