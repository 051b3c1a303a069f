"""ONNX releases that take images against transformers with the same quantised weights.

Matrix: towers of all four kinds in int8, and the decoders behind them; for browsers Gemma 3 and Gemma 4
E2B: rows of a picture; logits behind images at the start, in the middle, of two and of one longer than a
prefill chunk, past the sliding window, prefilled and decoded. Not asserted here: that transformers' parts
are its whole models (test_image_reference.py), what onnxruntime-genai and transformers.js make of the same
files (test_onnx_genai_images.py, test_web_images.py).
"""

from __future__ import annotations

import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import onnx
import pytest

from exporter.lowering.onnx.lowering import OnnxLowering
from exporter.reference.merged_logits import AskedPrompt, merged_logits
from exporter.reference.reference_tower import ReferenceTower
from runtimes.encoder import EncodedRows
from runtimes.errors import EncoderError
from runtimes.formats import Format
from runtimes.images.prepared import PreparedImage
from runtimes.multimodal.session import PlacedRows
from runtimes.onnx.session import OnnxSession
from runtimes.open import open_image_encoder, open_multimodal_session
from runtimes.opening import EncoderOpening
from runtimes.session import Logits, Tokens
from tests.fakes import silent
from tests.seen_pictures import picture
from tests.tiny import WINDOW
from tests.tiny_image_stores import KINDS
from tests.tiny_releases import mean_kl, some_tokens
from tests.unit.exporter.lowering.onnx.seeing_releases import CHUNK, SeeingRelease, prompt, seeing_release

ROWS, OTHER = 3e-5, 0.1  # max abs, of rows of up to 2: of the same picture, and of another
KL = 1e-5  # mean, nats
PREFILLED, LENGTH = 72, 80
RELEASES: list[tuple[str, Format]] = [*((kind, "onnx") for kind in KINDS), ("Gemma 3", "onnx-web")]
RELEASES.append(("Gemma 4 E2B", "onnx-web"))


@pytest.fixture(scope="module", params=RELEASES, ids=" ".join)
def release(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> SeeingRelease:
    kind, form = request.param
    return seeing_release(tmp_path_factory.mktemp("seeing"), kind, form)


@pytest.fixture(scope="module")
def rows(release: SeeingRelease) -> EncodedRows:
    return tower_rows(release.opening, picture(release.spec))


def tower_rows(opening: EncoderOpening, image: PreparedImage) -> EncodedRows:
    with open_image_encoder(opening) as encoder:
        return encoder.rows(image)


def reference_rows(release: SeeingRelease, image: PreparedImage) -> EncodedRows:
    return ReferenceTower(release.weights, release.spec).rows(image)


def session_logits(opening: EncoderOpening, tokens: Tokens, images: list[PlacedRows]) -> Logits:
    """All of them, the last ones decoded."""
    with open_multimodal_session(opening) as session:
        found = [session.prefill_with_rows(tokens[:PREFILLED], images)]
        found += [session.decode(int(token))[None] for token in tokens[PREFILLED:]]
    return np.concatenate(found)


def reference_logits(
    release: SeeingRelease, tokens: Tokens, images: list[PlacedRows], scratch: Path
) -> Logits:
    asked = AskedPrompt(tokens, tuple(images), np.arange(len(tokens)))
    return merged_logits(release.weights, [asked], scratch / "logits", silent).rows(0, len(tokens))


def test_a_tower_makes_the_rows_that_transformers_makes(
    release: SeeingRelease, rows: EncodedRows, tmp_path: Path
) -> None:
    image = picture(release.spec)
    expected = reference_rows(release, image)
    assert np.abs(rows - expected).max() < ROWS, "of a picture's many patches none is rounded"
    lowering = OnnxLowering(frozenset({release.artifact.format}))
    twin = lowering.tower_twin(release.directory, release.encoder, tmp_path)
    found = tower_rows(replace(release.opening, release=tmp_path, encoder=twin), image)
    assert np.abs(found - expected).max() < ROWS


def test_swapped_positions_and_other_patches_are_seen(release: SeeingRelease, rows: EncodedRows) -> None:
    image = picture(release.spec)
    others = [replace(image, pixels=np.flip(image.pixels, 1).copy())]
    if image.positions is not None:
        others.append(replace(image, positions=np.flip(image.positions, -1).copy()))
    for other in others:
        assert np.abs(tower_rows(release.opening, other) - rows).max() > OTHER


def test_a_picture_beyond_the_position_tables_or_of_another_size_is_refused(release: SeeingRelease) -> None:
    image, says = picture(release.spec), "cannot run the tower on this picture"
    if image.positions is None:
        beyond, says = replace(image, pixels=image.pixels[..., :-1]), "give float32"
    else:
        beyond = replace(image, positions=image.positions + 4000)
    with pytest.raises(EncoderError, match=says):
        tower_rows(release.opening, beyond)


@pytest.mark.parametrize("starts", [(0,), (21,), (3, 40)])
def test_logits_behind_images_are_those_of_transformers(
    starts: tuple[int, ...], release: SeeingRelease, rows: EncodedRows, tmp_path: Path
) -> None:
    assert PREFILLED > WINDOW + CHUNK
    shown = [rows * factor for factor in (1.0, -0.5)][: len(starts)]
    tokens, images = prompt(starts, shown, LENGTH)
    expected = reference_logits(release, tokens, images, tmp_path)
    found = session_logits(release.opening, tokens, images)
    assert mean_kl(expected, found) < KL
    blind = [PlacedRows(each.start, each.rows * 0) for each in images]
    assert mean_kl(expected, session_logits(release.opening, tokens, blind)) > 100 * KL


def test_tokens_of_an_image_that_do_not_see_each_other_are_seen(
    release: SeeingRelease, rows: EncodedRows, tmp_path: Path
) -> None:
    tokens, images = prompt([21], [rows], LENGTH)
    copied = shutil.copytree(release.directory, tmp_path / "copied")
    marks_nothing(copied / release.encoder.decoder)
    found = session_logits(replace(release.opening, release=copied), tokens, images)
    expected = session_logits(release.opening, tokens, images)
    if release.spec.tokens.blocks == "none":
        np.testing.assert_array_equal(found, expected)
    else:
        assert mean_kl(expected, found) > 100 * KL


def marks_nothing(decoder: Path) -> None:
    """Have a decoder number every image 0, as text."""
    model = onnx.load(str(decoder), load_external_data=False)
    for node in model.graph.node:
        if node.op_type == "CumSum":
            node.op_type, node.input[1] = "Mul", "constant.int64[].0"
    onnx.save(model, str(decoder))


def test_text_alone_gives_what_the_graph_of_tokens_gives(release: SeeingRelease) -> None:
    tokens = some_tokens(LENGTH)
    with OnnxSession(release.directory / release.artifact.path, threads=2) as session:
        expected = session.prefill(tokens)
    with open_multimodal_session(release.opening) as session:
        assert mean_kl(expected, session.prefill(tokens)) < KL
