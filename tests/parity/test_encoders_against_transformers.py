"""Audio encoders in plain torch against transformers' own modules.

Matrix: both kinds; sounds with padding behind them, and of lengths around a block's. Not asserted here: any
runtime.
"""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from exporter.models.audio.eager import EagerAudio
from exporter.models.audio.rows import sound_rows
from tests.tiny_encoders import TINY_ENCODERS, Features, TinyEncoder, random_features, tiny_conformer


def rows_of(encoder: TinyEncoder, given: Features) -> Tensor:
    with torch.no_grad():
        return sound_rows(encoder.spec, EagerAudio(encoder.weights), given.features, given.sound)[0]


@pytest.mark.parametrize("kind", TINY_ENCODERS)
@pytest.mark.parametrize("frames", [1, 16, 43, 47])
def test_an_encoder_has_the_weights_it_says_and_computes_what_transformers_does(
    kind: str, frames: int
) -> None:
    encoder = TINY_ENCODERS[kind]()
    shapes = {weight.name: weight.shape for weight in encoder.spec.weights()}
    assert {name: tuple(each.shape) for name, each in encoder.weights.items()} == shapes
    given = random_features(encoder.spec, frames)
    expected = encoder.reference(given.features, given.sound)
    assert expected.shape == (given.count, encoder.spec.text_hidden_size)
    assert torch.allclose(rows_of(encoder, given)[: given.count], expected, atol=3e-5)


def test_linears_without_bounds_are_computed_too() -> None:
    encoder = tiny_conformer(clipped=False)
    given = random_features(encoder.spec)
    expected = encoder.reference(given.features, given.sound)
    assert torch.allclose(rows_of(encoder, given)[: given.count], expected, atol=3e-5)


def test_padding_behind_a_sound_changes_nothing() -> None:
    encoder = tiny_conformer()
    given = random_features(encoder.spec, 43, 43)
    padded = random_features(encoder.spec, 43, 50)
    padded.features[:, :43] = given.features
    assert torch.allclose(rows_of(encoder, given), rows_of(encoder, padded)[: given.count], atol=1e-6)


def test_frames_in_another_order_are_seen() -> None:
    encoder = tiny_conformer()
    given = random_features(encoder.spec)
    turned = Features(given.features.flip(1), given.sound.flip(1), given.count)
    expected = encoder.reference(given.features, given.sound)
    assert (rows_of(encoder, turned)[: given.count] - expected).abs().max() > 0.01
