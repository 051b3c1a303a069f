"""transformers.js answering about a PNG in Node, by its own processor and class, against transformers.

Matrix: tiny Gemma 3, Gemma 4 E2B and 31B in int8; the reference is given transformers.js' own pixels and
tokens (it puts blank lines around Gemma 4's images, which transformers does not). The same folder still
opens as a model of text, whose logits are our driver's. One picture, and two of
different sizes. Not asserted: browsers, resizing.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from exporter.formats.web_paths import MEAN_KL_LIMIT
from exporter.lowering.interface import ImageOrder
from exporter.lowering.onnx.lowering import OnnxLowering
from exporter.reference.reference_tower import ReferenceTower
from runtimes.images.prepared import PreparedImage
from runtimes.multimodal.session import PlacedRows
from tests.fakes import silent
from tests.image_processing import patching
from tests.parity.test_onnx_genai_images import quieten
from tests.pictures import ramps
from tests.reference_answers import likeliest
from tests.tiny import name_unused
from tests.tiny_image_stores import tiny_image_store, write_tiny_multimodal
from tests.tiny_releases import lowering_order, mean_kl, some_tokens
from tests.tiny_towers import SOFT
from tests.unit.exporter.lowering.onnx.seeing_releases import SeeingRelease, seeing_release
from tests.web_answers import answer_in_node
from tests.web_engines import driver_logits, require, taken_by

ANSWERED, PREFILLED = 12, 40


@pytest.fixture(scope="module", params=["Gemma 3", "Gemma 4 E2B", "Gemma 4 31B"])
def release(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> SeeingRelease:
    require("node")
    directory, kind = tmp_path_factory.mktemp("web"), request.param
    checkpoint = write_tiny_multimodal(directory / "checkpoint", kind)
    quieten(checkpoint / "model.safetensors")
    name_unused(checkpoint, {300: "\n\n", 301: "<what>"})
    template = (checkpoint / "chat_template.jinja").read_text(encoding="utf-8")
    return seeing_release(
        directory,
        kind,
        "onnx-web",
        context=160,
        tokenizer=checkpoint,
        chat_template=template,
        prefill_logits="last",
    )


def answered(release: SeeingRelease, scratch: Path, count: int) -> dict[str, Any]:
    """count: of pictures in the prompt, each wider than the one before."""
    pictures = [scratch / f"picture-{i}.png" for i in range(count)]
    for i, picture in enumerate(pictures):
        Image.fromarray(ramps(240 + 96 * i, 144)).save(picture)
    parts = [{"type": "image"}, {"type": "text", "text": "<what>"}] * count
    asked = [{"role": "user", "content": parts}]
    given = {
        "pictures": list(map(str, pictures)),
        "messages": asked,
        "gemma4": release.kind != "Gemma 3",
        "new_tokens": ANSWERED,
    }
    return answer_in_node(release.directory, scratch, given)


def prepared(found: dict[str, Any]) -> list[PreparedImage]:
    """What its processor made, without padding."""
    pixels = np.array(found["pixels"]["values"], np.float32).reshape(found["pixels"]["shape"])
    if found["positions"] is None:
        return [
            PreparedImage(each[None], None, found["tokens"].count(SOFT) // len(pixels)) for each in pixels
        ]
    positions = np.array(found["positions"]["values"], np.int32).reshape(found["positions"]["shape"])
    there = [int((each[:, 0] >= 0).sum()) for each in positions]
    return [
        PreparedImage(pixels[i : i + 1, :count], positions[i : i + 1, :count], count // 9)
        for i, count in enumerate(there)
    ]


def reference_answer(
    release: SeeingRelease, found: dict[str, Any], scratch: Path, factor: float
) -> list[int]:
    """transformers' likeliest token where transformers.js gave each of its own; rows times a factor."""
    tower = ReferenceTower(release.weights, release.spec)
    count = len(found["tokens"])
    tokens = np.array(found["sequence"], np.int32)
    soft = tokens[:count] == SOFT
    starts = np.flatnonzero(soft & ~np.concatenate([[False], soft[:-1]]))
    rows = [tower.rows(image) * np.float32(factor) for image in prepared(found)]
    images = tuple(PlacedRows(int(at), each) for at, each in zip(starts, rows, strict=True))
    assert soft.sum() == sum(map(len, rows))
    return likeliest(release.weights, found["sequence"], count, images, scratch)


@pytest.mark.parametrize("count", [1, 2])
def test_transformers_js_answers_about_pictures_what_transformers_does(
    count: int, release: SeeingRelease, tmp_path: Path
) -> None:
    found = answered(release, tmp_path, count)
    answer = found["sequence"][len(found["tokens"]) :]
    assert len(answer) == ANSWERED
    assert len(set(answer)) > 2, "an answer of one word would prove nothing"
    # What follows an image's token without an image is nobody's to say.
    judged = slice(answer.index(SOFT) + 1 if SOFT in answer else ANSWERED)
    assert answer[judged] == reference_answer(release, found, tmp_path, 1.0)[judged]
    assert answer[judged] != reference_answer(release, found, tmp_path, 0.0)[judged]


def test_the_folder_still_opens_as_a_model_of_text(release: SeeingRelease, tmp_path: Path) -> None:
    tokens = some_tokens(PREFILLED + 4)
    taken = taken_by("node", release.directory, tokens, PREFILLED, tmp_path)
    expected = driver_logits(release.directory / release.artifact.path, tokens, PREFILLED)
    assert mean_kl(expected, taken.logits) < MEAN_KL_LIMIT


def test_gemma_4_12b_stays_a_model_of_text_there(tmp_path: Path) -> None:
    lowering = OnnxLowering(frozenset({"onnx-web"}))
    checkpoint = tiny_image_store(tmp_path, "Gemma 4 12B")
    order = lowering_order(checkpoint, tmp_path, images=ImageOrder(patching(merged=True)))
    out = tmp_path / "release"
    out.mkdir()
    lowering.lower(order, out, silent)
    assert lowering.encoders(order) == ()
    graphs = {path.name for path in (out / "onnx").iterdir()}
    assert graphs == {"model_quantized.onnx", "model_quantized.onnx_data"}
