"""The streamed reference with sounds against transformers' whole models with audio encoders.

Matrix: encoders of both kinds, alone and before a text model of their family; a picture and a sound in a
prompt that goes past the window. Equal: rows, and logits behind every token. Not asserted here: any
runtime, or checkpoints on disk.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from exporter.reference.merged_logits import AskedPrompt, merged_logits
from exporter.reference.reference_tower import ReferenceTower
from runtimes.multimodal.session import PlacedRows
from runtimes.sounds.prepared import PreparedSound
from tests.fakes import silent
from tests.tiny import WINDOW
from tests.tiny_encoders import (
    SOUND_BEGIN,
    SOUND_END,
    SOUND_SOFT,
    TINY_ENCODERS,
    TinyEncoder,
    random_features,
)
from tests.tiny_towers import BEGIN, END, SOFT, random_picture
from tests.whole_models import WholeModel, whole_model

ROWS, LOGITS = 5e-5, 1e-2  # max abs: a sum in another order, with 15 layers behind it
FRAMES = 43


@pytest.fixture(params=TINY_ENCODERS, scope="module")
def whole(request: pytest.FixtureRequest) -> WholeModel:
    return whole_model(request.param, hears=True)


def encoder_of(model: WholeModel) -> TinyEncoder:
    assert model.encoder is not None
    return model.encoder


def test_transformers_modules_hold_exactly_an_encoders_weights(whole: WholeModel) -> None:
    spec = encoder_of(whole).spec
    shapes = {weight.name: weight.shape for weight in spec.weights()}
    assert ReferenceTower(whole.weights, spec).canonical_shapes() == shapes


def test_rows_and_logits_behind_a_sound_and_a_picture_are_those_of_the_whole_model(
    whole: WholeModel, tmp_path: Path
) -> None:
    encoder = encoder_of(whole)
    heard, picture = random_features(encoder.spec, FRAMES), random_picture(whole.tower.spec, (3, 2), 6)
    prepared = PreparedSound(heard.features[:, :FRAMES].numpy(), heard.count)
    rows = ReferenceTower(whole.weights, encoder.spec).rows(prepared)
    expected = encoder.reference(heard.features, heard.sound)
    np.testing.assert_allclose(rows, expected.numpy(), atol=ROWS)
    image = whole.tower.reference(picture.pixels, picture.positions).numpy()
    text = torch.randint(6, 262, (100,), generator=torch.Generator().manual_seed(1)).tolist()
    sound = [SOUND_BEGIN, *[SOUND_SOFT] * len(rows), SOUND_END]
    before = [2, *text[:7], BEGIN]
    between = [*before, *[SOFT] * len(image), END, *text[7 : 7 + WINDOW + 5], *sound[:1]]
    tokens = torch.tensor([*between, *sound[1:], *text[50:60]])
    placed = (PlacedRows(len(before), image), PlacedRows(len(between), rows, "sound"))
    asked = AskedPrompt(tokens.numpy().astype(np.int32), placed, np.arange(len(tokens)))
    found = merged_logits(whole.weights, [asked], tmp_path / "logits", silent).rows(0, len(tokens))
    logits = whole.logits(tokens, picture.pixels, picture.positions, heard)
    np.testing.assert_allclose(found, logits.numpy(), atol=LOGITS)
    assert logits.std() > 0.5, "logits of the fixture are nearly uniform: it would prove nothing"
