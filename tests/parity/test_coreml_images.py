"""Core ML's image towers, and its decoder's functions for images, run by the MIL evaluator, against
transformers.

Matrix: towers of all four kinds, and decoders of every way image blocks are, in fp32 and fp16 arithmetic; a
picture behind the first token and one past the window, in calls that neither may be cut by. Not asserted
here: Apple's runtime; the function for tokens (test_coreml_decoder), save that it is as without images.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from exporter.lowering.coreml.lowering import CoreMlLowering
from exporter.lowering.coreml.package import MODEL, WEIGHTS
from exporter.lowering.coreml.quiet import quietly
from exporter.validation.stored_weights import differing_numbers
from runtimes.encoder import EncodedRows
from runtimes.errors import ArtifactError, EncoderError, SessionError
from runtimes.images.prepared import PreparedImage
from runtimes.mil.image_encoder import MilImageEncoder
from runtimes.mil.multimodal_session import MilMultimodalSession
from runtimes.mil.session import MilSession
from runtimes.multimodal.embedded_call import EmbeddedCall
from runtimes.multimodal.session import MultimodalSession
from runtimes.open import open_image_encoder, open_multimodal_session
from runtimes.opening import MilArithmetic
from tests.fakes import silent
from tests.parity.coreml_rows import (
    CHUNK,
    CONTEXT,
    RowsRelease,
    check_read_back,
    logits_by_transformers,
    pictures,
    prompt,
    seeing,
    tower_alone,
)
from tests.refused_calls import check_refusals
from tests.tiny_image_stores import KINDS
from tests.tiny_releases import lowering_order, mean_kl

with quietly():
    from coremltools.proto import Model_pb2

# Of rows of some 2. Constants are fp16 in either arithmetic: 12B has none that transformers has not so; E2B
# has RoPE tables, and behind its 15 layers most of its KL; the others 1 + gain, or a scale times a root.
ROW_LIMITS: Mapping[MilArithmetic, float] = {"fp32": 1e-3, "fp16": 5e-3}
CLOSER_ROWS = {"Gemma 4 E2B": 2e-4, "Gemma 4 12B": 1e-5}
KL_LIMITS: Mapping[MilArithmetic, float] = {"fp32": 1e-5, "fp16": 1e-3}
E2B_LIMIT = 1e-4
DECODERS = ("Gemma 3", "Gemma 4 E2B", "Gemma 4 12B")  # 31B's is as 12B's
DECODED = 3  # of the prompt's last tokens, one at a time


@pytest.fixture(params=DECODERS, scope="module")
def release(request: pytest.FixtureRequest) -> RowsRelease:
    return seeing(request.param)


@pytest.fixture(params=KINDS, scope="module")
def tower(request: pytest.FixtureRequest) -> RowsRelease:
    return seeing(request.param) if request.param in DECODERS else tower_alone(request.param)


@pytest.fixture(scope="module")
def rows(release: RowsRelease) -> tuple[EncodedRows, EncodedRows]:
    return reference_rows(release)


def reference_rows(release: RowsRelease) -> tuple[EncodedRows, EncodedRows]:
    first, second = (release.reference().rows(each) for each in pictures(release.tower))
    assert np.abs(first - second).max() > 0.05, "the two pictures are told apart"
    return first, second


@pytest.fixture(scope="module")
def expected(
    release: RowsRelease,
    rows: tuple[EncodedRows, EncodedRows],
    tmp_path_factory: pytest.TempPathFactory,
) -> NDArray[np.float32]:
    """Logits of the whole prompt."""
    tokens, images = prompt(rows)
    return logits_by_transformers(release, tokens, images, tmp_path_factory.mktemp("reference"))


def limit(release: RowsRelease, arithmetic: MilArithmetic) -> float:
    """Of the mean KL divergence from transformers."""
    return max(KL_LIMITS[arithmetic], E2B_LIMIT if release.kind == "Gemma 4 E2B" else 0.0)


def logits_of(session: MultimodalSession, rows: tuple[EncodedRows, EncodedRows]) -> NDArray[np.float32]:
    """Of the prompt: up to the second picture, from there on, and its last tokens decoded."""
    tokens, (first, second) = prompt(rows)
    cut, end = second.start - 1, len(tokens) - DECODED
    parts = [
        session.prefill_with_rows(tokens[:cut], [first]),
        session.prefill_with_rows(tokens[cut:end], [replace(second, start=second.start - cut)]),
        *(session.decode(int(token))[None] for token in tokens[end:]),
    ]
    return np.concatenate(parts)


@pytest.mark.parametrize("arithmetic", ["fp32", "fp16"])
def test_a_tower_makes_the_rows_that_transformers_does(
    tower: RowsRelease, arithmetic: MilArithmetic
) -> None:
    with open_image_encoder(tower.opening(arithmetic)) as encoder:
        assert isinstance(encoder, MilImageEncoder)
        limit = CLOSER_ROWS.get(tower.kind) if arithmetic == "fp32" else None
        for image, wanted in zip(pictures(tower.tower), reference_rows(tower), strict=True):
            found = encoder.rows(image)
            np.testing.assert_allclose(found, wanted, rtol=0, atol=limit or ROW_LIMITS[arithmetic])
        assert not encoder.non_finite


def test_positions_that_are_swapped_and_another_kind_of_picture_do_not_go_unnoticed(
    tower: RowsRelease,
) -> None:
    image, _ = pictures(tower.tower)
    with open_image_encoder(tower.opening()) as encoder:
        if image.positions is None:
            other = PreparedImage(np.zeros((1, 9, 768), np.float32), np.zeros((1, 9, 2), np.int32), 1)
            with pytest.raises(EncoderError, match="for an image tower of"):
                encoder.rows(other)
        else:
            swapped = encoder.rows(replace(image, positions=image.positions[..., ::-1].copy()))
            assert np.abs(swapped - reference_rows(tower)[0]).max() > 10 * ROW_LIMITS["fp16"]
            longer = replace(
                image,
                pixels=np.tile(image.pixels, (1, 2, 1)),
                positions=np.tile(image.positions, (1, 2, 1)),
                soft_tokens=2 * image.soft_tokens,
            )
            with pytest.raises(EncoderError, match="within"):
                encoder.rows(longer)


@pytest.mark.parametrize("arithmetic", ["fp32", "fp16"])
def test_logits_behind_images_are_those_of_transformers(
    release: RowsRelease,
    rows: tuple[EncodedRows, EncodedRows],
    expected: NDArray[np.float32],
    arithmetic: MilArithmetic,
) -> None:
    with open_multimodal_session(release.opening(arithmetic)) as session:
        assert isinstance(session, MilMultimodalSession)
        assert session.facts.prefill_chunk == CHUNK < len(rows[0]) + 4
        logits = logits_of(session, rows)
        assert mean_kl(expected, logits) <= limit(release, arithmetic)
        assert not session.non_finite


def test_who_is_blind_says_something_else(
    release: RowsRelease, rows: tuple[EncodedRows, EncodedRows], expected: NDArray[np.float32]
) -> None:
    nothing = (rows[0] * 0, rows[1] * 0)
    with open_multimodal_session(release.opening()) as session:
        assert mean_kl(expected, logits_of(session, nothing)) > 100 * KL_LIMITS["fp16"]


def test_an_image_without_its_block_gives_other_logits_where_there_are_blocks(
    release: RowsRelease,
    rows: tuple[EncodedRows, EncodedRows],
    expected: NDArray[np.float32],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(
        EmbeddedCall, "blocks", lambda call, past: np.zeros((1, past + len(call.ids)), np.int32)
    )
    with open_multimodal_session(release.opening()) as session:
        off = mean_kl(expected, logits_of(session, rows))
    if release.tower.tokens.blocks == "none":
        assert off <= limit(release, "fp32")
    else:
        assert off > 100 * KL_LIMITS["fp16"]


def test_a_text_without_images_has_the_logits_of_the_function_for_tokens(release: RowsRelease) -> None:
    tokens = np.random.default_rng(4).integers(6, 262, 40).astype(np.int32)
    with MilSession.open(release.release / release.artifact.path, prefill_chunk=CHUNK) as session:
        plain = session.prefill(tokens)
    with open_multimodal_session(release.opening()) as session:
        np.testing.assert_allclose(session.prefill(tokens), plain, atol=1e-4)
        check_refusals(session)
        with pytest.raises(SessionError, match="stands for one row of an image, and none is"):
            session.prefill_with_rows(np.array([release.tower.tokens.soft], np.int32), [])


def function(package: Path, name: str) -> Any:
    model = Model_pb2.Model.FromString((package / MODEL).read_bytes())
    return model.mlProgram.functions[name]


def test_the_function_for_tokens_is_as_it_is_without_images(tmp_path: Path) -> None:
    """Its operations and where they find their weights; only behind those does the file go on."""
    release = seeing("Gemma 3")
    order = lowering_order(
        release.checkpoint,
        Path(release.directory.name),
        context=CONTEXT,
        prefill_chunk=CHUNK,
    )
    (artifact,) = CoreMlLowering().lower(order, tmp_path, silent)
    assert not CoreMlLowering().encoders(order)
    alone, both = tmp_path / artifact.path, release.release / release.artifact.path
    assert function(both, "main") == function(alone, "main")
    short, long = ((each / WEIGHTS).read_bytes() for each in (alone, both))
    assert long[64 : len(short)] == short[64:], "the header counts payloads"
    assert len(long) - len(short) < 0.02 * len(short) + 8192, "no matrix is there twice"
    with pytest.raises(ArtifactError, match="does not say which token stands for an image"):
        MilMultimodalSession.open(alone)


def test_every_matrix_reads_back_from_its_package_as_the_checkpoint_has_it(release: RowsRelease) -> None:
    lowering, checkpoint = CoreMlLowering(), release.checkpoint
    assert differing_numbers(lowering.read_back(release.release, release.artifact), checkpoint) == 0
    check_read_back(release, "vision")


def test_what_is_said_of_the_packages(release: RowsRelease) -> None:
    assert release.encoders["vision"].path == "coreml/vision.mlpackage"
    assert release.encoders["vision"].decoder == release.artifact.path == "coreml/model.mlpackage"
    text, vision = (
        Model_pb2.Model.FromString((release.release / path / MODEL).read_bytes()).description
        for path in (release.artifact.path, release.encoders["vision"].path)
    )
    assert text.metadata.author == vision.metadata.author
    assert text.metadata.license == vision.metadata.license != ""
    assert text.metadata.versionString == vision.metadata.versionString != ""
    assert text.defaultFunctionName == "main"
    assert [each.name for each in text.functions] == ["main", "images", "embed"]
    assert not text.input
    blocks = {given.name for given in text.functions[1].input} & {"imageBlocks"}
    assert bool(blocks) == (release.tower.tokens.blocks != "none")
