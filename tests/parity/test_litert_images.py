"""Bundles that take images against transformers with the same quantised weights.

Matrix: towers of all four kinds in int8, and the decoders behind them: rows of a picture; logits behind
images at the start, in the middle and of two, past the sliding window. Not asserted here: that
transformers' parts are its whole models (test_image_reference.py), what LiteRT-LM's engine makes of the
same files (test_litert_lm_images.py).
"""

from __future__ import annotations

import pickle
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from ai_edge_litert import schema_py_generated as schema
from numpy.typing import NDArray

from exporter.lowering.interface import Segment
from exporter.lowering.litert.stand_in import write_stand_in
from exporter.lowering.litert.vision.graphs import build_encoder
from exporter.reference.merged_logits import AskedPrompt, merged_logits
from exporter.reference.reference_tower import ReferenceTower
from exporter.validation.stored_weights import differing_by_matrix
from runtimes.encoder import EncodedRows
from runtimes.errors import EncoderError
from runtimes.images.prepared import PreparedImage
from runtimes.litert.attention_masks import AttentionMasks
from runtimes.litert.calls import GraphCall, call_inputs
from runtimes.multimodal.session import MultimodalSession, PlacedRows
from runtimes.open import open_image_encoder, open_multimodal_session, open_session
from runtimes.opening import EncoderOpening
from runtimes.session import Logits, Tokens
from tests.fakes import silent
from tests.seen_pictures import picture
from tests.tiny import WINDOW
from tests.tiny_image_stores import KINDS
from tests.tiny_releases import eager_logits, mean_kl, some_tokens
from tests.unit.exporter.lowering.litert.seeing_releases import (
    CHUNK,
    LOWERING,
    SeeingBundle,
    prompt,
    seeing_bundle,
)

ROWS, ROWS_OF_KERNELS = 3e-5, 2e-3  # max abs, of rows of up to 2; XNNPACK rounds inputs to 16 bits
KL = 1e-5  # mean, nats
PREFILLED, LENGTH = 74, 80
FIRST_PICTURE = """
import os, pickle, sys
from pathlib import Path
from runtimes.litert.image_encoder import LiteRtImageEncoder

with LiteRtImageEncoder.open(Path(sys.argv[1])) as encoder:
    encoder.rows(pickle.loads(Path(sys.argv[2]).read_bytes()))
print("seen", flush=True)
os._exit(0)  # what is said at a process's end is the command's to silence
"""


@pytest.fixture(scope="module", params=KINDS)
def bundle(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> SeeingBundle:
    return seeing_bundle(tmp_path_factory.mktemp("seeing"), request.param)


@pytest.fixture(scope="module")
def rows(bundle: SeeingBundle) -> EncodedRows:
    return tower_rows(bundle.opening, picture(bundle.spec))


def tower_rows(opening: EncoderOpening, image: PreparedImage) -> EncodedRows:
    with open_image_encoder(opening) as encoder:
        return encoder.rows(image)


def decoded(session: MultimodalSession, tokens: Tokens, images: list[PlacedRows]) -> Logits:
    """Logits of the tokens behind the prefill."""
    session.prefill_with_rows(tokens[:PREFILLED], images)
    return np.stack([session.decode(int(token)) for token in tokens[PREFILLED:]])


def expected_logits(
    bundle: SeeingBundle, tokens: Tokens, images: list[PlacedRows], scratch: Path
) -> Logits:
    asked = AskedPrompt(tokens, tuple(images), np.arange(PREFILLED, len(tokens)))
    return merged_logits(bundle.weights, [asked], scratch / "logits", silent).rows(
        0, len(tokens) - PREFILLED
    )


def test_a_tower_makes_the_rows_that_transformers_makes(
    bundle: SeeingBundle, rows: EncodedRows, tmp_path: Path
) -> None:
    image = picture(bundle.spec)
    expected = ReferenceTower(bundle.weights, bundle.spec).rows(image)
    assert rows.shape == expected.shape
    assert np.abs(rows - expected).max() < ROWS_OF_KERNELS
    twin = LOWERING.tower_twin(bundle.directory, bundle.encoder, tmp_path)
    found = tower_rows(replace(bundle.opening, release=tmp_path, encoder=twin), image)
    assert np.abs(found - expected).max() < ROWS
    assert np.abs(found - rows).max() > 0, "kernels round, the twin does not"
    for other in changed(image):
        assert np.abs(tower_rows(bundle.opening, other) - rows).max() > 10 * ROWS_OF_KERNELS


def test_no_tower_sums_over_a_first_axis(bundle: SeeingBundle) -> None:
    """XNNPACK holds zeros of the result's size for each such sum: 4 GiB of a true Gemma 3's tower."""
    assert bundle.order.images is not None
    model = build_encoder(bundle.checkpoint.components["vision"], bundle.order.images).model
    operators = {code.builtinCode for code in model.operatorCodes}
    assert schema.BuiltinOperator.FULLY_CONNECTED in operators
    assert schema.BuiltinOperator.SUM not in operators


def changed(image: PreparedImage) -> list[PreparedImage]:
    """Another picture, and one whose x and y are swapped."""
    others = [replace(image, pixels=np.flip(image.pixels, 1).copy())]
    if image.positions is not None:
        others.append(replace(image, positions=np.flip(image.positions, -1).copy()))
    return others


def test_logits_behind_images_are_those_of_transformers(
    bundle: SeeingBundle, rows: EncodedRows, tmp_path: Path
) -> None:
    assert PREFILLED > WINDOW + CHUNK
    with open_multimodal_session(bundle.opening) as session:
        for starts in ((1,), (30,), (3, 40)):
            session.reset()
            shown = [rows * factor for factor in (1.0, -0.5)][: len(starts)]
            tokens, images = prompt(starts, shown, LENGTH)
            expected = expected_logits(bundle, tokens, images, tmp_path)
            assert mean_kl(expected, decoded(session, tokens, images)) < KL
        session.reset()
        blind = [PlacedRows(each.start, each.rows * 0) for each in images]
        assert mean_kl(expected, decoded(session, tokens, blind)) > 100 * KL


def causal_inputs(call: GraphCall, context: int, masks: AttentionMasks) -> dict[str, NDArray[Any]]:
    """What a call is given of text."""
    return call_inputs(replace(call, placed=()), context, masks)


def test_tokens_of_an_image_that_do_not_see_each_other_are_seen(
    bundle: SeeingBundle, rows: EncodedRows, monkeypatch: pytest.MonkeyPatch
) -> None:
    tokens, images = prompt([PREFILLED - 1 - len(rows) - 1], [rows], LENGTH)
    with open_multimodal_session(bundle.opening) as session:
        expected = decoded(session, tokens, images)
        session.reset()
        monkeypatch.setattr("runtimes.litert.session.call_inputs", causal_inputs)
        found = decoded(session, tokens, images)
    if bundle.spec.tokens.blocks == "none":
        np.testing.assert_array_equal(found, expected)
    else:
        assert mean_kl(expected, found) > 100 * KL


def test_text_alone_gives_what_the_checkpoint_says(bundle: SeeingBundle) -> None:
    tokens = some_tokens(LENGTH)
    with open_session(bundle.directory, bundle.artifact) as session:
        session.prefill(tokens[:PREFILLED])
        found = np.stack([session.decode(int(token)) for token in tokens[PREFILLED:]])
    text = replace(bundle.checkpoint, components=replace(bundle.checkpoint.components, vision=None))
    assert mean_kl(eager_logits(text, tokens)[PREFILLED:], found) < KL


def test_what_is_read_back_is_the_checkpoint(bundle: SeeingBundle) -> None:
    for component in ("text", "vision"):
        stored = LOWERING.read_back(bundle.directory, bundle.artifact)
        assert not differing_by_matrix(stored, bundle.checkpoint, component)


def test_a_picture_that_does_not_fit_is_refused(bundle: SeeingBundle) -> None:
    with open_image_encoder(bundle.opening) as encoder:
        image = picture(bundle.spec)
        with pytest.raises(EncoderError, match="pixels are"):
            encoder.rows(replace(image, pixels=image.pixels[..., 1:]))
        with pytest.raises(EncoderError, match="soft tokens"):
            encoder.rows(replace(image, soft_tokens=500))


@pytest.mark.parametrize("bundle", ["Gemma 4 12B"], indirect=True)
def test_a_process_that_sees_its_first_picture_says_nothing_of_it(
    bundle: SeeingBundle, tmp_path: Path
) -> None:
    (tmp_path / "picture").write_bytes(pickle.dumps(picture(bundle.spec)))
    path = bundle.directory / bundle.encoder.path
    command = [sys.executable, "-c", FIRST_PICTURE, str(path), str(tmp_path / "picture")]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert (done.stdout, done.stderr) == ("seen\n", "")


def test_its_text_has_a_twin_whose_logits_are_its_own(bundle: SeeingBundle, tmp_path: Path) -> None:
    tokens = some_tokens(40)
    tokens[10] = bundle.spec.tokens.end  # whose per-layer row the graph looks out for
    twin = LOWERING.float_twin(bundle.directory, bundle.artifact, tmp_path)
    run = twin.run([Segment("decode", len(tokens))], tokens, lambda done: None)
    logits = np.concatenate([rows for _, rows in run])
    with open_session(bundle.directory, bundle.artifact) as session:
        own = np.stack([session.decode(int(token)) for token in tokens])
    assert mean_kl(logits, own) < KL


def test_the_engine_opens_what_stands_in_for_it(bundle: SeeingBundle, tmp_path: Path) -> None:
    """To render prompts; with what is said of the caches of its own model it would not."""
    import litert_lm

    write_stand_in(bundle.path, tmp_path / "stand-in.litertlm")
    with litert_lm.Engine(str(tmp_path / "stand-in.litertlm"), backend=litert_lm.Backend.CPU()) as engine:
        assert engine is not None
