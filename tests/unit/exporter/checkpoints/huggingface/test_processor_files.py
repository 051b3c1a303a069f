"""How pictures are prepared, as a directory's processor files say it, and what contradicts the tower."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from exporter.checkpoints.huggingface.source import HuggingFaceSource
from exporter.errors import SpecError
from exporter.models.components import TEXT_ALONE
from runtimes.images.processing import (
    PROCESSING_SCHEMA_VERSION,
    ImageMarks,
    ImageProcessing,
    PatchProcessing,
    SquareProcessing,
)
from tests.tiny import name_unused, write_tiny_tokenizer
from tests.tiny_image_stores import write_tiny_multimodal
from tests.tiny_towers import BEGIN, END, SOFT

HALF = (0.5, 0.5, 0.5)
SQUARE = ImageProcessing(
    schema_version=PROCESSING_SCHEMA_VERSION,
    soft_tokens=4,
    marks=ImageMarks(SOFT, BEGIN, END, line_breaks=True, placeholder="<start_of_image>"),
    square=SquareProcessing(112, HALF, HALF),
    patches=None,
)


def patches(merged: bool) -> ImageProcessing:
    return ImageProcessing(
        schema_version=PROCESSING_SCHEMA_VERSION,
        soft_tokens=280,
        marks=ImageMarks(SOFT, BEGIN, END, line_breaks=False, placeholder="<|image|>"),
        square=None,
        patches=PatchProcessing(16, 3, merged),
    )


def edit(directory: Path, name: str, **changed: Any) -> None:
    """Change the image processor's settings, which may be a part of the file."""
    path = directory / name
    whole = json.loads(path.read_bytes())
    part = whole.get("image_processor", whole)
    part.update(changed)
    path.write_text(json.dumps(whole), encoding="utf-8")


@pytest.mark.parametrize(
    ("kind", "expected"),
    [
        ("Gemma 3", SQUARE),
        ("Gemma 4 E2B", patches(merged=False)),
        ("Gemma 4 31B", patches(merged=False)),
        ("Gemma 4 12B", patches(merged=True)),
    ],
)
def test_a_published_layout_is_read(kind: str, expected: ImageProcessing, tmp_path: Path) -> None:
    source = HuggingFaceSource.open(write_tiny_multimodal(tmp_path, kind))
    assert source.images == expected
    assert not any("how pictures are prepared" in remark for remark in source.remarks)
    assert "processor_config.json" in source.digests()
    assert HuggingFaceSource.open(tmp_path, TEXT_ALONE).images is None


def test_processor_files_are_no_part_of_a_text_models_identity(tmp_path: Path) -> None:
    write_tiny_multimodal(tmp_path, "Gemma 3")
    digests = HuggingFaceSource.open(tmp_path, TEXT_ALONE).digests()
    assert not {"processor_config.json", "preprocessor_config.json"} & set(digests)


@pytest.mark.parametrize("kind", ["Gemma 3", "Gemma 4 E2B"])
def test_without_processor_files_transformers_defaults_are_taken_and_said(
    kind: str, tmp_path: Path
) -> None:
    expected = HuggingFaceSource.open(write_tiny_multimodal(tmp_path, kind)).images
    (tmp_path / "processor_config.json").unlink()
    (tmp_path / "preprocessor_config.json").unlink(missing_ok=True)
    source = HuggingFaceSource.open(tmp_path)
    assert source.images == expected
    assert any("how pictures are prepared" in remark for remark in source.remarks)


def test_a_processor_of_other_colours_and_budget_is_followed(tmp_path: Path) -> None:
    write_tiny_multimodal(tmp_path / "a", "Gemma 3")
    edit(tmp_path / "a", "preprocessor_config.json", image_mean=[0.4, 0.5, 0.6])
    square = HuggingFaceSource.open(tmp_path / "a").images
    assert square is not None
    assert square.square == SquareProcessing(112, (0.4, 0.5, 0.6), HALF)
    write_tiny_multimodal(tmp_path / "b", "Gemma 4 12B")
    edit(tmp_path / "b", "processor_config.json", max_soft_tokens=560)
    found = HuggingFaceSource.open(tmp_path / "b").images
    assert found is not None
    assert found.soft_tokens == 560


@pytest.mark.parametrize(
    ("kind", "changed", "what"),
    [
        ("Gemma 3", {"size": {"height": 896, "width": 896}}, "is 896, and the tower takes pictures of 112"),
        ("Gemma 3", {"image_seq_length": 256}, "is 256, and config.json has mm_tokens_per_image 4"),
        ("Gemma 3", {"resample": 3}, "expected 2 or None"),
        ("Gemma 3", {"do_pan_and_scan": True}, "expected False or None"),
        ("Gemma 3", {"image_std": [0.5, 0.0, 0.5]}, "expected three numbers"),
        ("Gemma 3", {"image_std": [0.5, 1e-300, 0.5]}, "expected three numbers"),
        ("Gemma 3", {"image_mean": [0.5, 10**40, 0.5]}, "expected three numbers"),
        ("Gemma 3", {"rescale_factor": 1.0}, "expected 0.003921569"),
        ("Gemma 4 E2B", {"patch_size": 14}, "is 14, and config.json has patch_size 16"),
        ("Gemma 4 31B", {"pooling_kernel_size": 4}, "is 4, and config.json has pooling_kernel_size 3"),
        ("Gemma 4 12B", {"max_soft_tokens": 300}, "is 300, and transformers takes 70, 140"),
        ("Gemma 4 E2B", {"do_normalize": True}, "expected False or None"),
        ("Gemma 4 E2B", {"do_resize": False}, "expected True or None"),
        ("Gemma 3", {"image_processor_type": "CLIPImageProcessor"}, "prepared by Gemma3ImageProcessor"),
        ("Gemma 4 E2B", {"image_processor_type": "Gemma3ImageProcessor"}, "prepared by Gemma4ImageProc"),
        ("Gemma 4 12B", {"image_processor_type": "Gemma4ImageProcessor"}, "prepared by Gemma4Unified"),
        ("Gemma 4 31B", {"image_processor_type": 3}, "is 3, and pictures for gemma4_vision"),
        ("Gemma 4 E2B", {"image_processor_type": ["Gemma4ImageProcessor"]}, "are prepared by Gemma4Image"),
        ("Gemma 3", {"image_processor_type": {"a": 1}}, "are prepared by Gemma3ImageProcessor"),
    ],
)
def test_a_processor_that_contradicts_the_tower_is_refused(
    kind: str, changed: dict[str, Any], what: str, tmp_path: Path
) -> None:
    write_tiny_multimodal(tmp_path, kind)
    name = "preprocessor_config.json" if kind == "Gemma 3" else "processor_config.json"
    edit(tmp_path, name, **changed)
    with pytest.raises(SpecError, match=what) as caught:
        HuggingFaceSource.open(tmp_path)
    assert name in caught.value.where
    assert next(iter(changed)) in caught.value.where
    assert "checkpoint's config.json" not in str(caught.value), "another file is to be mended"
    assert HuggingFaceSource.open(tmp_path, TEXT_ALONE).images is None, "the text is not the processor's"


@pytest.mark.parametrize("backend", ["Fast", "Pil"])
def test_a_class_is_the_same_by_whatever_its_pixels_are_computed(backend: str, tmp_path: Path) -> None:
    write_tiny_multimodal(tmp_path, "Gemma 3")
    edit(tmp_path, "preprocessor_config.json", image_processor_type=f"Gemma3ImageProcessor{backend}")
    assert HuggingFaceSource.open(tmp_path).images == SQUARE


def test_a_processor_that_writes_more_places_than_the_tower_makes_rows_is_refused(tmp_path: Path) -> None:
    write_tiny_multimodal(tmp_path, "Gemma 3")
    edit(tmp_path, "processor_config.json", image_seq_length=256)
    with pytest.raises(SpecError, match=r"is 256, and config\.json has mm_tokens_per_image 4") as caught:
        HuggingFaceSource.open(tmp_path)
    assert caught.value.where.endswith("/processor_config.json.image_seq_length")


def test_ids_of_images_that_the_tokenizer_does_not_have_are_refused(tmp_path: Path) -> None:
    write_tiny_multimodal(tmp_path, "Gemma 4 E2B")
    write_tiny_tokenizer(tmp_path)
    name_unused(tmp_path, {SOFT: "<|image|>", BEGIN: "<|image>"})
    with pytest.raises(SpecError, match=f"no special token {END}"):
        HuggingFaceSource.open(tmp_path)
