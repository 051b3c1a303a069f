"""Bundles that take sounds against transformers with the same quantised weights.

Matrix: encoders of both kinds in int8 and fp32, and the decoders behind them: rows of sounds that fit a
call and that do not; logits behind sounds at the start, in the middle, of two, and beside an image. Not
asserted here: what LiteRT-LM's engine makes of the same files (test_litert_lm_sounds.py), nor spectra.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from exporter.reference.merged_logits import AskedPrompt, merged_logits
from exporter.reference.reference_tower import ReferenceTower
from exporter.validation.stored_weights import differing_by_matrix
from runtimes.encoder import EncodedRows
from runtimes.errors import EncoderError, SessionError
from runtimes.multimodal.session import MultimodalSession, PlacedRows
from runtimes.open import open_image_encoder, open_multimodal_session, open_session, open_sound_encoder
from runtimes.opening import EncoderOpening
from runtimes.session import Logits, Tokens
from runtimes.sounds.prepared import PreparedSound
from tests.fakes import silent
from tests.heard_sounds import sound
from tests.seen_pictures import picture
from tests.tiny_encoders import TINY_ENCODERS
from tests.tiny_releases import mean_kl, some_tokens
from tests.unit.exporter.lowering.litert.seeing_releases import (
    LOWERING,
    SeeingBundle,
    prompt,
    seeing_bundle,
)

# Max abs, of rows of up to 2. XNNPACK rounds inputs to 16 bits, and where rows reach both of the bounds
# that a linear's inputs are kept within, as many here do, those between two of its steps.
ROWS, ROWS_OF_KERNELS = 3e-5, 1e-2
KL = 1e-5  # mean, nats
PREFILLED, LENGTH = 74, 80
CALL, LONGEST = 20, 60  # soft tokens of a call, and of a sound
LENGTHS = {"fits": 11, "is cut": 52}


@pytest.fixture(scope="module", params=TINY_ENCODERS)
def bundle(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> SeeingBundle:
    return hearing(tmp_path_factory.mktemp("hearing"), request.param)


def hearing(directory: Path, kind: str, scheme: str = "int8-channel") -> SeeingBundle:
    """Whose encoder has calls that are shorter than the longest sound."""
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr("exporter.lowering.litert.audio.sections.SOUND_CALL", CALL)
        return seeing_bundle(directory, kind, scheme, sound=LONGEST)


@pytest.fixture(scope="module")
def rows(bundle: SeeingBundle) -> EncodedRows:
    return encoded(bundle.opening_of("audio"), sound_of(bundle))


def sound_of(bundle: SeeingBundle, soft_tokens: int = LENGTHS["fits"]) -> PreparedSound:
    return sound(bundle.checkpoint.components["audio"].spec, soft_tokens)


def encoded(opening: EncoderOpening, given: PreparedSound) -> EncodedRows:
    with open_sound_encoder(opening) as encoder:
        return encoder.rows(given)


def expected_rows(bundle: SeeingBundle, given: PreparedSound) -> EncodedRows:
    return ReferenceTower(bundle.weights, bundle.checkpoint.components["audio"].spec).rows(given)


@pytest.mark.parametrize("length", LENGTHS)
def test_an_encoder_makes_the_rows_that_transformers_makes(
    bundle: SeeingBundle, length: str, tmp_path: Path
) -> None:
    given, opening = sound_of(bundle, LENGTHS[length]), bundle.opening_of("audio")
    assert (given.soft_tokens > CALL) == (length == "is cut")
    found, expected = encoded(opening, given), expected_rows(bundle, given)
    assert found.shape == expected.shape
    assert np.abs(found - expected).max() < ROWS_OF_KERNELS
    twin = LOWERING.tower_twin(bundle.directory, opening.encoder, tmp_path)
    of_twin = encoded(replace(opening, release=tmp_path, encoder=twin), given)
    assert np.abs(of_twin - expected).max() < ROWS
    assert np.abs(of_twin - found).max() > 0, "kernels round, the twin does not"
    turned = replace(given, features=np.flip(given.features, 1).copy())
    assert np.abs(encoded(opening, turned) - found).max() > 10 * ROWS_OF_KERNELS


@pytest.mark.parametrize("kind", TINY_ENCODERS)
def test_an_encoder_in_float_makes_the_rows_that_transformers_makes(kind: str, tmp_path: Path) -> None:
    bundle = hearing(tmp_path, kind, "fp32")
    for soft_tokens in LENGTHS.values():
        given = sound_of(bundle, soft_tokens)
        found = encoded(bundle.opening_of("audio"), given)
        assert np.abs(found - expected_rows(bundle, given)).max() < ROWS


def decoded(session: MultimodalSession, tokens: Tokens, placed: list[PlacedRows]) -> Logits:
    """Logits of the tokens behind the prefill."""
    session.prefill_with_rows(tokens[:PREFILLED], placed)
    return np.stack([session.decode(int(token)) for token in tokens[PREFILLED:]])


def expected_logits(
    bundle: SeeingBundle, tokens: Tokens, placed: list[PlacedRows], scratch: Path
) -> Logits:
    asked = AskedPrompt(tokens, tuple(placed), np.arange(PREFILLED, len(tokens)))
    return merged_logits(bundle.weights, [asked], scratch / "logits", silent).rows(
        0, len(tokens) - PREFILLED
    )


def test_logits_behind_sounds_are_those_of_transformers(
    bundle: SeeingBundle, rows: EncodedRows, tmp_path: Path
) -> None:
    with open_multimodal_session(bundle.opening_of("audio")) as session:
        for starts in ((1,), (30,), (3, 40)):
            session.reset()
            played = [rows * factor for factor in (1.0, -0.5)][: len(starts)]
            tokens, sounds = prompt(starts, played, LENGTH, "sound")
            expected = expected_logits(bundle, tokens, sounds, tmp_path)
            assert mean_kl(expected, decoded(session, tokens, sounds)) < KL
        session.reset()
        deaf = [replace(each, rows=each.rows * 0) for each in sounds]
        assert mean_kl(expected, decoded(session, tokens, deaf)) > 100 * KL


def test_logits_behind_an_image_and_a_sound_are_those_of_transformers(
    bundle: SeeingBundle, rows: EncodedRows, tmp_path: Path
) -> None:
    with open_image_encoder(bundle.opening) as tower:
        seen = tower.rows(picture(bundle.spec))
    tokens, images = prompt([4], [seen], LENGTH)
    beside, sounds = prompt([40], [rows], LENGTH, "sound")
    tokens[38:] = beside[38:]
    placed = [*sounds, *images]
    expected = expected_logits(bundle, tokens, sorted(placed, key=lambda each: each.start), tmp_path)
    with open_multimodal_session(bundle.opening_of("audio")) as session:
        assert mean_kl(expected, decoded(session, tokens, placed)) < KL


def test_what_is_read_back_is_the_checkpoint(bundle: SeeingBundle) -> None:
    for component in ("text", "vision", "audio"):
        stored = LOWERING.read_back(bundle.directory, bundle.artifact)
        assert not differing_by_matrix(stored, bundle.checkpoint, component)


def test_a_bundle_may_hear_and_not_see(tmp_path: Path) -> None:
    bundle = seeing_bundle(tmp_path, "Gemma 4 E2B", sound=LONGEST, images=None)
    assert list(bundle.encoders) == ["audio"]
    rows = encoded(bundle.opening_of("audio"), sound_of(bundle))
    tokens, sounds = prompt([3], [rows], LENGTH, "sound")
    with open_multimodal_session(bundle.opening_of("audio")) as session:
        expected = expected_logits(bundle, tokens, sounds, tmp_path)
        assert mean_kl(expected, decoded(session, tokens, sounds)) < KL
        with pytest.raises(SessionError, match="image 0: this decoder takes no images"):
            session.prefill_with_rows(some_tokens(9), [PlacedRows(3, rows[:2])])


def test_text_alone_is_what_a_bundle_that_does_not_hear_makes_of_it(
    bundle: SeeingBundle, tmp_path: Path
) -> None:
    deaf = seeing_bundle(tmp_path, bundle.kind)
    logits = []
    for each in (bundle, deaf):
        with open_session(each.directory, each.artifact) as session:
            session.prefill(some_tokens(20))
            logits.append(session.decode(7))
    np.testing.assert_array_equal(logits[0], logits[1])


def test_sounds_that_do_not_fit_are_refused(bundle: SeeingBundle, rows: EncodedRows) -> None:
    tokens, placed = prompt([3], [rows], LENGTH, "sound")
    opening, given = bundle.opening_of("audio"), sound_of(bundle)
    with open_multimodal_session(opening) as session:
        for wrong_rows, words in (
            ([], "which stands for one row of a sound, and none is there"),
            ([*placed, *placed], "sound 1 takes tokens 3 to"),
            ([PlacedRows(LENGTH - 1, rows, "sound")], f"of {LENGTH}, the one before it ends at 0"),
            ([PlacedRows(3, rows[:, 1:], "sound")], "sound 0 has rows"),
        ):
            with pytest.raises(SessionError, match=words):
                session.prefill_with_rows(tokens, wrong_rows)
        assert session.position == 0
    wrong: Mapping[str, PreparedSound] = {
        "features are": replace(given, features=given.features[..., 1:]),
        "frames are not": replace(given, soft_tokens=given.soft_tokens + 1),
        "at most": sound_of(bundle, LONGEST + 1),
    }
    with open_sound_encoder(opening) as encoder:
        for said, each in wrong.items():
            with pytest.raises(EncoderError, match=said):
                encoder.rows(each)
    with pytest.raises(EncoderError, match="closed"):
        encoder.rows(given)
