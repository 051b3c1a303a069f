"""Core ML's audio encoders, and its decoder's functions for sounds, run by the MIL evaluator, against
transformers.

Matrix: encoders of both kinds, float and int8, in fp32 and fp16 arithmetic, at lengths around a block's;
decoders that see too and one that does not, with a sound that calls cut and one past the window. Not
asserted here: Apple's runtime; images alone (test_coreml_images).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from itertools import product

import numpy as np
import pytest
from numpy.typing import NDArray

from exporter.lowering.coreml.package import MODEL
from exporter.lowering.coreml.quiet import quietly
from runtimes.encoder import EncodedRows
from runtimes.errors import ArtifactError, EncoderError, SessionError
from runtimes.mil.image_encoder import MilImageEncoder
from runtimes.mil.multimodal_session import MilMultimodalSession
from runtimes.mil.sound_encoder import MilSoundEncoder
from runtimes.multimodal.session import PlacedRows, RowKind
from runtimes.open import open_multimodal_session, open_sound_encoder
from runtimes.opening import MilArithmetic
from runtimes.session import Tokens
from runtimes.sounds.prepared import PreparedSound
from tests.parity.coreml_rows import (
    CHUNK,
    SOUND_SOFT_TOKENS,
    RowsRelease,
    check_read_back,
    hearing,
    logits_by_transformers,
    pictures,
    seeing,
    sound,
    tower_alone,
)
from tests.tiny import WINDOW
from tests.tiny_encoders import SOUND_BEGIN, SOUND_END, SOUND_SOFT
from tests.tiny_releases import mean_kl
from tests.tiny_towers import BEGIN, END, SOFT

with quietly():
    from coremltools.proto import Model_pb2

KINDS, SCHEMES = ("Gemma 4 E2B", "Gemma 4 12B"), ("int8-channel", "fp16")
LENGTHS = (1, 4, 5, SOUND_SOFT_TOKENS)  # soft tokens; blocks of the tiny conformer have 4
# Of rows of some 3. Constants are fp16 in either arithmetic.
ROW_LIMITS: Mapping[MilArithmetic, float] = {"fp32": 5e-4, "fp16": 1e-2}
KL_LIMITS: Mapping[MilArithmetic, float] = {"fp32": 1e-4, "fp16": 1e-3}


@pytest.fixture(params=product(KINDS, SCHEMES), ids=" ".join, scope="module")
def encoder(request: pytest.FixtureRequest) -> RowsRelease:
    kind, scheme = request.param
    return tower_alone(kind, "audio", scheme)


@pytest.fixture(params=["E2B with images", "12B with images", "12B"], scope="module")
def release(request: pytest.FixtureRequest) -> RowsRelease:
    kind, _, with_images = request.param.partition(" ")
    return seeing(f"Gemma 4 {kind}") if with_images else hearing(f"Gemma 4 {kind}")


@pytest.mark.parametrize("arithmetic", ["fp32", "fp16"])
def test_an_encoder_makes_the_rows_that_transformers_does(
    encoder: RowsRelease, arithmetic: MilArithmetic
) -> None:
    reference = encoder.reference("audio")
    with open_sound_encoder(encoder.opening(arithmetic, "audio")) as opened:
        assert isinstance(opened, MilSoundEncoder)
        for tokens in LENGTHS:
            given = sound(encoder.encoder, tokens)
            wanted = reference.rows(given)
            found = opened.rows(given)
            np.testing.assert_allclose(found, wanted, rtol=0, atol=ROW_LIMITS[arithmetic])
        assert not opened.non_finite


def test_a_sound_that_is_too_long_or_of_another_kind_is_refused(encoder: RowsRelease) -> None:
    (other,) = set(KINDS) - {encoder.kind}
    with open_sound_encoder(encoder.opening(tower="audio")) as opened:
        for given in (
            sound(encoder.encoder, SOUND_SOFT_TOKENS + 1),
            sound(tower_alone(other, "audio").encoder, 4),
        ):
            with pytest.raises(EncoderError, match="of another size; prepare it with the processing"):
                opened.rows(given)
        with pytest.raises(EncoderError, match="4 rows of a sound of 3 soft tokens"):
            opened.rows(replace(sound(encoder.encoder, 4), soft_tokens=3))
    with pytest.raises(EncoderError, match="closed"):
        opened.rows(sound(encoder.encoder, 1))


def test_frames_in_another_order_do_not_go_unnoticed(encoder: RowsRelease) -> None:
    given = sound(encoder.encoder, 8)
    turned = PreparedSound(given.features[:, ::-1].copy(), 8)
    with open_sound_encoder(encoder.opening(tower="audio")) as opened:
        assert np.abs(opened.rows(turned) - opened.rows(given)).max() > 10 * ROW_LIMITS["fp16"]


def test_an_image_tower_is_no_audio_encoder(encoder: RowsRelease) -> None:
    with pytest.raises(ArtifactError, match="are not those of an image tower"):
        MilImageEncoder.open(encoder.release / encoder.encoders["audio"].path)


def prompt(release: RowsRelease) -> tuple[Tokens, tuple[PlacedRows, ...]]:
    """A sound right behind the beginning that calls cut, text past the window, an image where the release
    sees, a second sound, text."""
    text = np.random.default_rng(3).integers(6, 262, WINDOW + 12).tolist()
    first, second = (sound(release.encoder, tokens) for tokens in (SOUND_SOFT_TOKENS, 3))
    tokens = [2]
    placed: list[PlacedRows] = []

    def place(rows: EncodedRows, of: RowKind, begin: int, soft: int, end: int) -> None:
        placed.append(PlacedRows(len(tokens) + 1, rows, of))
        tokens.extend([begin, *[soft] * len(rows), end])

    hears = release.reference("audio")
    place(hears.rows(first), "sound", SOUND_BEGIN, SOUND_SOFT, SOUND_END)
    tokens += text[: WINDOW + 5]
    if "vision" in release.encoders:
        place(release.reference().rows(pictures(release.tower)[0]), "image", BEGIN, SOFT, END)
    place(hears.rows(second), "sound", SOUND_BEGIN, SOUND_SOFT, SOUND_END)
    return np.array(tokens + text[WINDOW + 5 :], np.int32), tuple(placed)


@pytest.fixture(scope="module")
def expected(release: RowsRelease, tmp_path_factory: pytest.TempPathFactory) -> NDArray[np.float32]:
    """Logits of the whole prompt."""
    tokens, placed = prompt(release)
    return logits_by_transformers(release, tokens, placed, tmp_path_factory.mktemp("reference"))


@pytest.mark.parametrize("arithmetic", ["fp32", "fp16"])
def test_logits_behind_sounds_are_those_of_transformers(
    release: RowsRelease, expected: NDArray[np.float32], arithmetic: MilArithmetic
) -> None:
    tokens, placed = prompt(release)
    with open_multimodal_session(release.opening(arithmetic, "audio")) as session:
        assert isinstance(session, MilMultimodalSession)
        assert session.facts.prefill_chunk == CHUNK < SOUND_SOFT_TOKENS
        logits = session.prefill_with_rows(tokens, placed)
        assert mean_kl(expected, logits) <= KL_LIMITS[arithmetic]
        assert not session.non_finite


def test_who_is_deaf_says_something_else(release: RowsRelease, expected: NDArray[np.float32]) -> None:
    tokens, placed = prompt(release)
    silence = [replace(each, rows=each.rows * 0) if each.of == "sound" else each for each in placed]
    with open_multimodal_session(release.opening(tower="audio")) as session:
        assert mean_kl(expected, session.prefill_with_rows(tokens, silence)) > 100 * KL_LIMITS["fp16"]


def test_rows_of_what_a_release_does_not_take_are_refused(release: RowsRelease) -> None:
    rows = np.zeros((1, release.encoder.text_hidden_size), np.float32)
    with open_multimodal_session(release.opening(tower="audio")) as session:
        with pytest.raises(SessionError, match="stands for one row of a sound, and none is"):
            session.prefill_with_rows(np.array([SOUND_SOFT], np.int32), [])
        if "vision" not in release.encoders:
            with pytest.raises(SessionError, match="this decoder takes no images"):
                session.prefill_with_rows(np.array([SOFT], np.int32), [PlacedRows(0, rows, "image")])


def test_every_matrix_reads_back_from_its_package_as_the_checkpoint_has_it(encoder: RowsRelease) -> None:
    check_read_back(encoder, "audio")


def test_no_length_is_computed_in_half_precision_which_counts_to_2048(encoder: RowsRelease) -> None:
    package = encoder.release / encoder.encoders["audio"].path
    main = Model_pb2.Model.FromString((package / MODEL).read_bytes()).mlProgram.functions["main"]
    operations = main.block_specializations[main.opset].operations
    assert "cast" not in {each.type for each in operations}


def test_what_is_said_of_the_packages(release: RowsRelease) -> None:
    assert release.encoders["audio"].path == "coreml/audio.mlpackage"
    assert release.encoders["audio"].decoder == release.artifact.path == "coreml/model.mlpackage"
    text, audio = (
        Model_pb2.Model.FromString((release.release / path / MODEL).read_bytes()).description
        for path in (release.artifact.path, release.encoders["audio"].path)
    )
    sees = "vision" in release.encoders
    functions = {each.name: {given.name for given in each.input} for each in text.functions}
    assert list(functions) == ["main", "images" if sees else "sounds", "embed"]
    blocks = sees and release.tower.tokens.blocks != "none"
    assert ("imageBlocks" in functions.get("images", functions["main"])) == blocks
    assert text.metadata.userDefined["gemma-export.audio_token"] == str(SOUND_SOFT)
    assert ("gemma-export.image_token" in text.metadata.userDefined) == sees
    assert audio.metadata.userDefined["gemma-export.soft_tokens"] == str(SOUND_SOFT_TOKENS)
