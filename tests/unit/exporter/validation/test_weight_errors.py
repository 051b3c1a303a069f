"""How far stored matrices are from those they were made from: by hand, by scheme, and equalised."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from exporter.checkpoints.huggingface.source import HuggingFaceSource
from exporter.quantization.quantize import write_quantized
from exporter.validation.weight_errors import weight_errors
from tests.fakes import silent
from tests.jobs import a_plan, a_variant
from tests.tiny import RandomSource, tiny_gemma3
from tests.tiny_image_stores import tiny_image_store

DAMAGED = "model.layers.1.mlp.up_proj.weight"


@dataclass(frozen=True)
class Damaged(RandomSource):
    """One matrix is half of what it was."""

    def rows(self, name: str, start: int, stop: int) -> NDArray[np.float32]:
        return super().rows(name, start, stop) * np.float32(0.5 if name == DAMAGED else 1)


def errors(tmp_path: Path, recipe: str, damaged: bool = False) -> dict[tuple[int | None, str], float]:
    source = RandomSource(tiny_gemma3())
    plan = a_plan(source, a_variant(recipe, ("onnx",)))
    stored = Damaged(source.architecture) if damaged else source
    checkpoint = write_quantized(stored, plan.schemes, tmp_path / recipe, silent)
    found = list(weight_errors(source, checkpoint, silent))
    assert [each.scheme for each in found] == [plan.schemes[name].name for name in checkpoint.matrices]
    return {(each.layer, each.part): each.relative for each in found}


def test_every_matrix_has_its_place_and_an_error_of_its_bits(tmp_path: Path) -> None:
    eight, four = errors(tmp_path, "int8"), errors(tmp_path, "int4")
    assert {(None, "embed_tokens"), (0, "q_proj"), (1, "down_proj")} <= set(eight)
    assert all(0 < each < 0.02 for each in eight.values())
    assert four[1, "up_proj"] > 5 * eight[1, "up_proj"]


def test_a_matrix_that_is_another_one_stands_out(tmp_path: Path) -> None:
    found = errors(tmp_path, "int8", damaged=True)
    assert found[1, "up_proj"] == pytest.approx(0.5, rel=0.01)
    assert max(each for place, each in found.items() if place != (1, "up_proj")) < 0.02


def test_half_precision_is_nearly_exact(tmp_path: Path) -> None:
    assert max(errors(tmp_path, "float").values()) < 1e-3


def test_matrices_of_an_image_tower_are_among_them_by_part(tmp_path: Path) -> None:
    checkpoint = tiny_image_store(tmp_path, "Gemma 3")
    source = HuggingFaceSource.open(tmp_path / "checkpoint")
    found = [each for each in weight_errors(source, checkpoint, silent) if each.part.startswith("images: ")]
    assert len(found) == len(checkpoint.components["vision"].matrices)
    assert {"images: q_proj", "images: fc1"} <= {each.part for each in found}
    assert {each.layer for each in found} == {None}, "the layers of plots are the text model's"
