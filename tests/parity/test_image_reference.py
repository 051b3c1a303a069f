"""The streamed reference with images against transformers' whole models with towers.

Matrix: towers of all four kinds, alone and before a text model of their family; two pictures in a prompt
that goes past the window, one of them beyond it. Equal: rows, and logits behind every token. Not asserted
here: any runtime, or checkpoints on disk.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor

from exporter.reference.merged_logits import AskedPrompt, merged_decisions, merged_logits
from exporter.reference.reference_tower import ReferenceTower
from runtimes.images.prepared import PreparedImage
from runtimes.multimodal.session import PlacedRows
from tests.fakes import silent
from tests.tiny import WINDOW
from tests.tiny_towers import BEGIN, END, SOFT, TINY_TOWERS, TinyTower, random_picture
from tests.whole_models import WholeModel, whole_model

ROWS, LOGITS = 2e-5, 1e-2  # max abs: a sum in another order, with 15 layers behind it; a wrong mask moves 5


@pytest.fixture(params=TINY_TOWERS, scope="module")
def whole(request: pytest.FixtureRequest) -> WholeModel:
    return whole_model(request.param)


def reference_tower(model: WholeModel) -> ReferenceTower:
    return ReferenceTower(model.weights, model.tower.spec)


def pictures(tower: TinyTower) -> tuple[PreparedImage, PreparedImage]:
    """Two of one size without padding."""
    picture = random_picture(tower.spec, squares=(3, 2), budget=6)
    positions = None if picture.positions is None else picture.positions.numpy().astype(np.int32)
    first = PreparedImage(picture.pixels.numpy(), positions, picture.count)
    return first, PreparedImage(np.flip(first.pixels, -1).copy(), positions, picture.count)


def prompt(soft: int, before: int) -> tuple[Tensor, tuple[int, int]]:
    """Text, a picture, text past the window, a picture, text; where the pictures are."""
    text = torch.randint(6, 262, (200,), generator=torch.Generator().manual_seed(1)).tolist()
    image = [BEGIN, *[SOFT] * soft, END]
    tokens = [2, *text[:before], *image, *text[50 : 50 + WINDOW + 5], *image, *text[100:110]]
    first = 1 + before + 1
    return torch.tensor(tokens), (first, first + soft + 1 + WINDOW + 5 + 1)


def test_transformers_modules_hold_exactly_a_towers_weights(whole: WholeModel) -> None:
    shapes = {weight.name: weight.shape for weight in whole.tower.spec.weights()}
    assert reference_tower(whole).canonical_shapes() == shapes


def test_rows_and_logits_behind_images_are_those_of_the_whole_model(
    whole: WholeModel, tmp_path: Path
) -> None:
    both = pictures(whole.tower)
    soft = both[0].soft_tokens
    tokens, places = prompt(soft, before=7)
    reference = reference_tower(whole)
    rows = [reference.rows(each) for each in both]
    assert np.abs(rows[0] - rows[1]).max() > 0.05, "the two pictures are told apart"
    for image, found in zip(both, rows, strict=True):
        positions = None if image.positions is None else torch.as_tensor(image.positions).long()
        expected = whole.tower.reference(torch.as_tensor(image.pixels), positions)
        np.testing.assert_allclose(found, expected.numpy(), atol=ROWS)
    pixels = torch.cat([torch.as_tensor(each.pixels) for each in both])
    where = None if both[0].positions is None else torch.as_tensor(both[0].positions).long().repeat(2, 1, 1)
    expected = whole.logits(tokens, pixels, where)
    asked = AskedPrompt(
        tokens.numpy().astype(np.int32),
        tuple(PlacedRows(start, row) for start, row in zip(places, rows, strict=True)),
        np.arange(len(tokens)),
    )
    found = merged_logits(whole.weights, [asked], tmp_path / "logits", silent).rows(0, len(tokens))
    np.testing.assert_allclose(found, expected.numpy(), atol=LOGITS)
    assert expected.std() > 0.5, "logits of the fixture are nearly uniform: it would prove nothing"


def test_prompts_of_one_shape_with_images_elsewhere_keep_their_own_masks(tmp_path: Path) -> None:
    whole = whole_model("Gemma 3")
    image = pictures(whole.tower)[0]
    rows = reference_tower(whole).rows(image)
    asked = []
    for before in (3, 9):
        tokens, (start, _) = prompt(image.soft_tokens, before)
        tokens = tokens[: 1 + 9 + 2 + image.soft_tokens + 4]
        asked.append(
            AskedPrompt(
                tokens.numpy().astype(np.int32), (PlacedRows(start, rows),), np.array([len(tokens) - 1])
            )
        )
    together = merged_logits(whole.weights, asked, tmp_path / "both", silent).rows(0, 2)
    alone = [merged_logits(whole.weights, [each], tmp_path / "one", silent).rows(0, 1) for each in asked]
    np.testing.assert_allclose(together, np.concatenate(alone), atol=1e-5)
    choices = [each.choices[0] for each in merged_decisions(whole.weights, asked, silent)]
    assert choices == together.argmax(-1).tolist()
