"""ONNX releases that take sounds against transformers with the same quantised weights.

Matrix: encoders of both kinds in int8 and their float twins, and the decoders behind them; for browsers
Gemma 4 E2B: rows of a sound; logits behind sounds at the start, in the middle, of two, of one longer than a
prefill chunk that calls cut, and of one beside an image; prefilled and decoded. Not asserted here: what
onnxruntime-genai and transformers.js make of the same files (test_onnx_genai_sounds.py,
test_web_sounds.py).
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from exporter.lowering.onnx.lowering import OnnxLowering
from exporter.reference.merged_logits import AskedPrompt, merged_logits
from exporter.reference.reference_tower import ReferenceTower
from runtimes.encoder import EncodedRows
from runtimes.formats import Format
from runtimes.multimodal.session import PlacedRows
from runtimes.onnx.session import OnnxSession
from runtimes.open import open_multimodal_session, open_sound_encoder
from runtimes.opening import EncoderOpening
from runtimes.session import Logits, Tokens
from runtimes.sounds.prepared import PreparedSound
from tests.fakes import silent
from tests.heard_sounds import LONGEST, sound
from tests.tiny import WINDOW
from tests.tiny_encoders import SOUND_SOFT
from tests.tiny_releases import mean_kl, some_tokens
from tests.tiny_towers import SOFT
from tests.unit.exporter.lowering.onnx.hearing_releases import HearingRelease, hearing_release
from tests.unit.exporter.lowering.onnx.seeing_releases import CHUNK

ROWS, ROWS_OF_KERNELS = 3e-5, 1e-3  # max abs, of rows of up to 2; inputs are rounded to 14 bits
KL = 1e-5  # mean, nats
PREFILLED, LENGTH = 72, 80
RELEASES: list[tuple[str, Format]] = [
    ("Gemma 4 E2B", "onnx"),
    ("Gemma 4 12B", "onnx"),
    ("Gemma 4 E2B", "onnx-web"),
]
IDS = {"image": SOFT, "sound": SOUND_SOFT}


@pytest.fixture(scope="module", params=RELEASES, ids=" ".join)
def release(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> HearingRelease:
    kind, form = request.param
    return hearing_release(tmp_path_factory.mktemp("hearing"), kind, form)


@pytest.fixture(scope="module")
def rows(release: HearingRelease) -> EncodedRows:
    return encoded(release.opening, sound(release.spec, LONGEST))


def encoded(opening: EncoderOpening, heard: PreparedSound) -> EncodedRows:
    with open_sound_encoder(opening) as encoder:
        return encoder.rows(heard)


def prompt(placed: list[PlacedRows]) -> Tokens:
    tokens = some_tokens(LENGTH).copy()
    for each in placed:
        tokens[each.start : each.stop] = IDS[each.of]
    return tokens


def session_logits(opening: EncoderOpening, placed: list[PlacedRows]) -> Logits:
    """All of them, the last ones decoded."""
    tokens = prompt(placed)
    with open_multimodal_session(opening) as session:
        found = [session.prefill_with_rows(tokens[:PREFILLED], placed)]
        found += [session.decode(int(token))[None] for token in tokens[PREFILLED:]]
    return np.concatenate(found)


def reference_logits(release: HearingRelease, placed: list[PlacedRows], scratch: Path) -> Logits:
    asked = AskedPrompt(prompt(placed), tuple(placed), np.arange(LENGTH))
    return merged_logits(release.weights, [asked], scratch / "logits", silent).rows(0, LENGTH)


@pytest.mark.parametrize("soft_tokens", [1, 11, LONGEST])
def test_an_encoder_makes_the_rows_that_transformers_makes(
    soft_tokens: int, release: HearingRelease, tmp_path: Path
) -> None:
    heard = sound(release.spec, soft_tokens)
    expected = ReferenceTower(release.weights, release.spec).rows(heard)
    found = encoded(release.opening, heard)
    assert np.abs(found - expected).max() < ROWS_OF_KERNELS
    lowering = OnnxLowering(frozenset({release.artifact.format}))
    twin = lowering.tower_twin(release.directory, release.encoder, tmp_path)
    in_float = encoded(replace(release.opening, release=tmp_path, encoder=twin), heard)
    assert np.abs(in_float - expected).max() < ROWS
    rounds = release.artifact.format == "onnx"
    assert (np.abs(in_float - found).max() > 0) == rounds, "kernels round, the twin does not"


def test_frames_in_another_order_are_heard(release: HearingRelease, rows: EncodedRows) -> None:
    heard = sound(release.spec, LONGEST)
    turned = replace(heard, features=heard.features[:, ::-1].copy())
    assert np.abs(encoded(release.opening, turned) - rows).max() > 100 * ROWS_OF_KERNELS


@pytest.mark.parametrize("starts", [(0,), (21,), (3, 40)])
def test_logits_behind_sounds_are_those_of_transformers(
    starts: tuple[int, ...], release: HearingRelease, rows: EncodedRows, tmp_path: Path
) -> None:
    assert len(rows) > CHUNK, "a sound that calls cut"
    assert PREFILLED > WINDOW + CHUNK
    factors = (1.0, -0.5)[: len(starts)]
    placed = [PlacedRows(at, rows * np.float32(f), "sound") for at, f in zip(starts, factors, strict=True)]
    expected = reference_logits(release, placed, tmp_path)
    assert mean_kl(expected, session_logits(release.opening, placed)) < KL
    deaf = [replace(each, rows=each.rows * 0) for each in placed]
    assert mean_kl(expected, session_logits(release.opening, deaf)) > 100 * KL


def test_logits_behind_a_sound_and_an_image_are_those_of_transformers(
    release: HearingRelease, rows: EncodedRows, tmp_path: Path
) -> None:
    picture = rows[:9] * np.float32(-0.7)
    placed = [PlacedRows(5, rows, "sound"), PlacedRows(30, picture, "image"), PlacedRows(45, rows, "sound")]
    expected = reference_logits(release, placed, tmp_path)
    assert mean_kl(expected, session_logits(release.opening, placed)) < KL


def test_text_alone_gives_what_the_graph_of_tokens_gives(release: HearingRelease) -> None:
    tokens = some_tokens(LENGTH)
    with OnnxSession(release.directory / release.artifact.path, threads=2) as session:
        expected = session.prefill(tokens)
    with open_multimodal_session(release.opening) as session:
        assert mean_kl(expected, session.prefill(tokens)) < KL
