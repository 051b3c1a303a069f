"""Image towers in plain torch against transformers' own modules.

Matrix: every kind of tower; pictures with room behind their last square. Not asserted here: any runtime.
"""

from __future__ import annotations

import pytest
import torch

from exporter.models.vision.eager import EagerVision
from exporter.models.vision.tower import image_rows
from tests.tiny_towers import TINY_TOWERS, random_picture


@pytest.mark.parametrize("kind", TINY_TOWERS)
def test_a_tower_has_the_weights_it_says_and_computes_what_transformers_does(kind: str) -> None:
    tower = TINY_TOWERS[kind]()
    shapes = {weight.name: weight.shape for weight in tower.spec.weights()}
    assert {name: tuple(each.shape) for name, each in tower.weights.items()} == shapes
    picture = random_picture(tower.spec)
    with torch.no_grad():
        ops = EagerVision(tower.weights)
        rows = image_rows(tower.spec, ops, picture.pixels, picture.positions, picture.length)
    expected = tower.reference(picture.pixels, picture.positions)
    assert expected.shape == (picture.count, tower.spec.text_hidden_size)
    assert torch.allclose(rows[0, : picture.count], expected, atol=3e-5)


def test_positions_that_are_swapped_are_seen() -> None:
    tower = TINY_TOWERS["Gemma 4 E2B"]()
    picture = random_picture(tower.spec, squares=(4, 4))
    assert picture.positions is not None
    swapped = picture.positions.flip(-1)
    with torch.no_grad():
        rows = image_rows(tower.spec, EagerVision(tower.weights), picture.pixels, swapped, picture.length)
    expected = tower.reference(picture.pixels, picture.positions)
    assert (rows[0, : picture.count] - expected).abs().max() > 0.01
