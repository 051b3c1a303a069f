"""Half of a tower: weights that config.json does not describe, and a description without weights."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from safetensors.torch import load_file, save_file

from exporter.checkpoints.huggingface.source import HuggingFaceSource
from exporter.checkpoints.interface import CheckpointSource
from exporter.checkpoints.open import open_checkpoint
from exporter.errors import CheckpointError, SpecError, UsageError
from exporter.models.components import TEXT_ALONE
from exporter.planning.candidates import AskedFor
from exporter.planning.outlook import Outlook, PlanOrder, look_ahead
from exporter.planning.profiles import load_device
from runtimes.manifest import ComponentName
from tests.unit.exporter.checkpoints.multimodal_checkpoints import (
    LAYOUTS,
    Layout,
    write_json,
    write_multimodal,
)

# Family, component, config.json's key, and the first words of its tensors' names.
IMAGES: tuple[tuple[str, ComponentName, str, tuple[str, ...]], ...] = (
    ("gemma3", "vision", "vision_config", ("vision_tower", "multi_modal_projector")),
    ("gemma4", "vision", "vision_config", ("vision_tower", "embed_vision")),
    ("gemma4", "audio", "audio_config", ("audio_tower", "embed_audio")),
    ("gemma4_unified", "vision", "vision_config", ("vision_embedder", "embed_vision")),
    ("gemma4_unified", "audio", "audio_config", ("embed_audio",)),
)
LEFT_OUT = {
    ("gemma4", "vision"): ["vision tower", "vision projector"],
    ("gemma4", "audio"): ["audio tower", "audio projector"],
    ("gemma4_unified", "vision"): ["vision embedder"],
    ("gemma4_unified", "audio"): ["audio embedder"],
}
OTHERS: dict[ComponentName, tuple[ComponentName, ...]] = {
    "vision": ("text", "audio"),
    "audio": ("text", "vision"),
}


def described_as(directory: Path, change: Callable[[dict[str, Any]], object]) -> None:
    path = directory / "config.json"
    config = json.loads(path.read_text(encoding="utf-8"))
    change(config)
    write_json(path, config)


def without_tensors(directory: Path, first_words: tuple[str, ...]) -> None:
    stored = load_file(directory / "model.safetensors")
    kept = {
        name: each
        for name, each in stored.items()
        if name.removeprefix("model.").partition(".")[0] not in first_words
    }
    assert len(kept) < len(stored)
    save_file(kept, directory / "model.safetensors")


def planned(directory: Path) -> Outlook:
    return look_ahead(PlanOrder(str(directory), None, (load_device("macbook-m3-pro"),), AskedFor()))


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("how", ["is null", "is missing"])
@pytest.mark.parametrize(("family", "part", "key", "names"), IMAGES[1:])
def test_weights_that_nothing_describes_are_left_out_and_told_of(
    tmp_path: Path,
    layout: Layout,
    how: str,
    family: str,
    part: ComponentName,
    key: str,
    names: tuple[str, ...],
) -> None:
    write_multimodal(tmp_path, family, layout)
    if how == "is null":
        described_as(tmp_path, lambda config: config.update({key: None}))
    else:
        described_as(tmp_path, lambda config: config.pop(key))
    source = HuggingFaceSource.open(tmp_path)
    assert set(source.components) == set(OTHERS[part])
    assert [each.partition(",")[0] for each in source.left_out] == LEFT_OUT[family, part]
    (said,) = (each for each in source.remarks if key in each and "left out" in each)
    stored = load_file(tmp_path / "model.safetensors")
    count = sum(name.removeprefix("model.").partition(".")[0] in names for name in stored)
    tensors = "a tensor" if count == 1 else f"{count} tensors"
    tower = "an image tower" if part == "vision" else "an audio encoder"
    assert said.startswith(f"The checkpoint's files have {tensors} of {tower}, ")
    assert f"{key} of its config.json {how}" in said
    assert not any("files have" in each for each in HuggingFaceSource.open(tmp_path, TEXT_ALONE).remarks)
    with pytest.raises(UsageError, match=f"has no {part} here"):
        open_checkpoint(str(tmp_path), None, ("text", part))


def test_a_plan_says_what_is_left_out_and_why(tmp_path: Path) -> None:
    write_multimodal(tmp_path, "gemma4_unified", "inner")
    whole = planned(tmp_path)
    assert whole.left_out == ()
    assert not any("files have" in each for each in whole.remarks)
    described_as(tmp_path, lambda config: config.update(vision_config=None))
    blind = planned(tmp_path)
    assert blind.left_out[0].startswith("vision embedder, ")
    assert any("files have" in each and "of an image tower" in each for each in blind.remarks)
    assert blind.releases[0].image_tokens is None
    assert blind.releases[0].sound is not None


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("how", ["is null", "is missing"])
def test_a_gemma_3_is_never_without_an_image_tower(tmp_path: Path, layout: Layout, how: str) -> None:
    """transformers' class would make one of numbers of its own, which the weights are not of."""
    write_multimodal(tmp_path, "gemma3", layout)
    if how == "is null":
        described_as(tmp_path, lambda config: config.update(vision_config=None))
    else:
        described_as(tmp_path, lambda config: config.pop("vision_config"))
    with pytest.raises(SpecError, match=f"{how}, and the files have .* of an image tower") as caught:
        HuggingFaceSource.open(tmp_path)
    assert caught.value.where == f"{tmp_path / 'config.json'}.vision_config"
    assert "--components text" in caught.value.then
    assert set(HuggingFaceSource.open(tmp_path, TEXT_ALONE).components) == {"text"}


def test_a_gemma_3_with_neither_is_a_text_model(tmp_path: Path) -> None:
    write_multimodal(tmp_path, "gemma3", "outer")
    described_as(tmp_path, lambda config: config.update(vision_config=None))
    without_tensors(tmp_path, IMAGES[0][3])
    assert set(HuggingFaceSource.open(tmp_path).components) == {"text"}


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize(("family", "part", "key", "names"), IMAGES)
def test_a_tower_without_weights_is_refused_and_left_out_where_that_is_asked_for(
    tmp_path: Path, layout: Layout, family: str, part: ComponentName, key: str, names: tuple[str, ...]
) -> None:
    write_multimodal(tmp_path, family, layout)
    without_tensors(tmp_path, names)
    with pytest.raises(CheckpointError, match="and no file has a tensor of it") as caught:
        HuggingFaceSource.open(tmp_path)
    assert caught.value.where == f"{tmp_path / 'config.json'}.{key}"
    assert "--components text" in caught.value.then
    source: CheckpointSource = HuggingFaceSource.open(tmp_path, OTHERS[part])
    assert part not in source.components


@pytest.mark.parametrize("layout", LAYOUTS)
def test_half_of_a_towers_weights_are_named(tmp_path: Path, layout: Layout) -> None:
    write_multimodal(tmp_path, "gemma4", layout)
    without_tensors(tmp_path, ("embed_vision",))
    with pytest.raises(CheckpointError, match=r"tensors? .*embed_vision\.embedding_projection.* missing"):
        HuggingFaceSource.open(tmp_path)
