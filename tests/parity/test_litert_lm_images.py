"""LiteRT-LM's own engine answering from a PNG, against our driver on the same bundle and transformers.

Matrix: a tiny Gemma 4 E2B in fp32; a picture of 480 x 336, which 70 soft tokens hold unscaled; prompts
longer than a prefill chunk. Among what is asserted is that the token behind an image has its own row of the
per-layer table, which the engine does not look up. Not asserted: pictures that are scaled, and models whose
images see each other both ways (docs/adr/0034).
"""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from exporter.lowering.interface import ImageOrder
from exporter.reference.merged_logits import AskedPrompt, merged_decisions
from runtimes.images.preparing import prepared_image
from runtimes.litert.image_encoder import LiteRtImageEncoder
from runtimes.multimodal.session import PlacedRows
from tests.fakes import silent
from tests.parity.litert_lm_media import BOS, said_by_the_engine, speaking
from tests.seen_pictures import processing_of
from tests.tiny_towers import BEGIN, END, SOFT
from tests.unit.exporter.lowering.litert.seeing_releases import SeeingBundle, seeing_bundle

BUDGET, COUNT = 70, 8
PROMPTS = (([40, 41, 42, 43, 44], [50, 51, 52]), (list(range(60, 81)), [90, 91]))


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> SeeingBundle:
    made = seeing_bundle(tmp_path_factory.mktemp("engine"), "Gemma 4 E2B", "fp32")
    speaking(made, images=ImageOrder(processing_of(made.spec, BUDGET)))
    return made


def ramp() -> NDArray[np.uint8]:
    y, x = np.mgrid[:336, :480]
    return np.stack([x * 255 // 480, y * 255 // 336, (x + y) % 256], -1).astype(np.uint8)


def png() -> bytes:
    from PIL import Image

    file = io.BytesIO()
    Image.fromarray(ramp()).save(file, "PNG")
    return file.getvalue()


def test_the_engine_answers_as_transformers_does(bundle: SeeingBundle, tmp_path: Path) -> None:
    from litert_lm import Content

    with LiteRtImageEncoder.open(bundle.path) as encoder:
        rows = encoder.rows(prepared_image(ramp(), processing_of(bundle.spec, BUDGET)))
    assert len(rows) == BUDGET
    asked = [(before, Content.ImageBytes(png()).to_json(), behind) for before, behind in PROMPTS]
    blind_agrees = []
    for said, (before, behind) in zip(
        said_by_the_engine(bundle, asked, COUNT, tmp_path), PROMPTS, strict=True
    ):
        prompt = [BOS, *before, BEGIN, *[SOFT] * BUDGET, END, *behind]
        tokens = np.array(prompt + said[:-1], np.int32)
        at = np.arange(len(prompt) - 1, len(tokens))
        seeing, blind = (
            AskedPrompt(tokens, (PlacedRows(len(before) + 2, each),), at) for each in (rows, rows * 0)
        )
        expected, unseen = merged_decisions(bundle.weights, [seeing, blind], silent)
        assert said == expected.choices.tolist()
        blind_agrees.append(said == unseen.choices.tolist())
    assert not any(blind_agrees), "a picture that changes nothing proves nothing"
