"""LiteRT-LM's own engine answering from a PNG, against our driver's rows on transformers' text model.

Matrix: tiny models of all four kinds in fp32; pictures that nobody has to scale; prompts of one call and of
several, the picture lying in one of them. Among what is asserted is that the token behind an image has its
own row of the per-layer table, which the engine does not look up, and that the engine opens its masks for
tokens of one image. Not asserted: pictures that are scaled, and those that lie in two calls
(docs/adr/0034).
"""

from __future__ import annotations

import io
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from exporter.lowering.interface import ImageOrder
from exporter.reference.merged_logits import AskedPrompt, merged_decisions
from runtimes.images.preparing import prepared_image
from runtimes.images.processing import ImageProcessing
from runtimes.litert.image_encoder import LiteRtImageEncoder
from runtimes.multimodal.session import PlacedRows
from tests.fakes import silent
from tests.parity.litert_lm_media import BOS, LINE_BREAKS, said_by_the_engine, speaking
from tests.seen_pictures import processing_of
from tests.tiny_image_stores import KINDS
from tests.tiny_towers import BEGIN, END, SOFT
from tests.unit.exporter.lowering.litert.seeing_releases import SeeingBundle, seeing_bundle

CONTEXT, BUDGET, COUNT = 512, 70, 8
PROMPTS = (
    ([40, 41, 42, 43, 44], [50, 51, 52]),
    (list(range(60, 81)), [90, 91]),
    ([40], [50]),
    (list(range(200, 220)), list(range(230, 430))),  # over the longest call there is, 256
)


@pytest.fixture(scope="module", params=KINDS)
def bundle(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> SeeingBundle:
    made = seeing_bundle(tmp_path_factory.mktemp("engine"), request.param, "fp32", context=CONTEXT)
    return replace(made, order=speaking(made, images=ImageOrder(processing_of(made.spec, BUDGET))))


def picture(processing: ImageProcessing) -> NDArray[np.uint8]:
    """Of a size that is taken as it is."""
    height, width = (336, 480) if processing.square is None else (processing.square.side,) * 2
    y, x = np.mgrid[:height, :width]
    return np.stack([x * 255 // width, y * 255 // height, (x + y) % 256], -1).astype(np.uint8)


def png(shown: NDArray[np.uint8]) -> bytes:
    file = io.BytesIO()
    Image.fromarray(shown).save(file, "PNG")
    return file.getvalue()


def test_the_engine_answers_as_transformers_does(bundle: SeeingBundle, tmp_path: Path) -> None:
    from litert_lm import Content

    assert bundle.order.images is not None
    processing = bundle.order.images.processing
    shown = picture(processing)
    with LiteRtImageEncoder.open(bundle.path) as encoder:
        rows = encoder.rows(prepared_image(shown, processing))
    asked = [(before, Content.ImageBytes(png(shown)).to_json(), behind) for before, behind in PROMPTS]
    breaks = [LINE_BREAKS] if bundle.kind == "Gemma 3" else []
    blind_agrees = []
    for said, (before, behind) in zip(
        said_by_the_engine(bundle, asked, COUNT, tmp_path), PROMPTS, strict=True
    ):
        began = [BOS, *before, *breaks, BEGIN]
        prompt = [*began, *[SOFT] * len(rows), END, *breaks, *behind]
        tokens = np.array(prompt + said[:-1], np.int32)
        at = np.arange(len(prompt) - 1, len(tokens))
        seeing, blind = (
            AskedPrompt(tokens, (PlacedRows(len(began), each),), at) for each in (rows, rows * 0)
        )
        expected, unseen = merged_decisions(bundle.weights, [seeing, blind], silent)
        assert said == expected.choices.tolist()
        blind_agrees.append(said == unseen.choices.tolist())
    assert not all(blind_agrees), "a picture that changes nothing proves nothing"
