"""What every driver promises of prompts with images, on one tiny model in every format that takes them.

Matrix: driver × promise. Not asserted here: what any of them makes of a picture (tests/parity), nor what
they promise of text (test_session.py).
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from exporter.lowering.table import lowerings_for
from runtimes.errors import ProcessingError, SessionError
from runtimes.formats import Format
from runtimes.multimodal.session import MultimodalSession, PlacedRows
from runtimes.open import MULTIMODAL_SESSIONS, open_multimodal_session
from runtimes.opening import EncoderOpening
from tests.refused_calls import check_refusals
from tests.seeing_models import seeing
from tests.tiny_releases import some_tokens
from tests.tiny_towers import BEGIN, END, SOFT

ROWS = 4
STARTS = (2, 9)
CLOSE = 2e-3  # as the contract suite of sessions has it


@pytest.fixture(scope="module")
def openings(tmp_path_factory: pytest.TempPathFactory) -> Mapping[Format, EncoderOpening]:
    """One release for each format, of one checkpoint."""
    model = seeing(tmp_path_factory.mktemp("seeing"), "Gemma 3")
    found: dict[Format, EncoderOpening] = {}
    for form in MULTIMODAL_SESSIONS:
        (lowering,) = lowerings_for([form]).values()
        release = model.release(lowering, form, form)
        (encoder,) = release.encoders
        found[form] = EncoderOpening(release.directory, encoder, release.artifacts[0], 2, "fp32")
    return found


@pytest.fixture(scope="module", params=list(MULTIMODAL_SESSIONS))
def opened(
    request: pytest.FixtureRequest, openings: Mapping[Format, EncoderOpening]
) -> Iterator[MultimodalSession]:
    with open_multimodal_session(openings[request.param]) as session:
        yield session


@pytest.fixture
def session(opened: MultimodalSession) -> MultimodalSession:
    opened.reset()
    return opened


def rows(number: int = 0) -> NDArray[np.float32]:
    """Of one image, as wide as the model is."""
    return np.random.default_rng(number).normal(0, 1, (ROWS, 64)).astype(np.float32)


def prompt() -> NDArray[np.int32]:
    """Room for two images, each between its marks."""
    tokens = some_tokens(20).copy()
    for start in STARTS:
        tokens[start - 1], tokens[start + ROWS] = BEGIN, END
        tokens[start : start + ROWS] = SOFT
    return tokens


def two_images() -> list[PlacedRows]:
    return [PlacedRows(start, rows(start)) for start in STARTS]


def test_positions_count_text_and_images(session: MultimodalSession) -> None:
    session.prefill_with_rows(prompt(), two_images())
    assert session.position == 20
    assert session.decode(7).shape == (session.facts.vocab_size,)
    assert session.position == 21


def test_images_may_be_given_in_any_order(session: MultimodalSession) -> None:
    session.prefill_with_rows(prompt(), two_images())
    expected = session.decode(7)
    session.reset()
    session.prefill_with_rows(prompt(), two_images()[::-1])
    np.testing.assert_array_equal(session.decode(7), expected)
    session.reset()
    first, second = two_images()
    swapped = [replace(first, rows=second.rows), replace(second, rows=first.rows)]
    session.prefill_with_rows(prompt(), swapped)
    assert np.abs(session.decode(7) - expected).max() > CLOSE


def test_images_that_do_not_fit_the_prompt_are_refused_in_the_same_words(
    session: MultimodalSession,
) -> None:
    tokens, (first, second) = prompt(), two_images()
    session.prefill(tokens[:1])
    expected = session.decode(7)
    session.reset()
    session.prefill(tokens[:1])
    hidden = rows()
    for images, words in (
        ([], f"token 2 is {SOFT}, which stands for one row of an image, and none is there"),
        ([second], f"token 2 is {SOFT}, which stands for one row of an image, and none is there"),
        ([first, PlacedRows(9, hidden[:-1])], f"token 12 is {SOFT}, which stands for one row of an image"),
        ([PlacedRows(1, hidden), second], f"image 0 stands where tokens are not {SOFT}"),
        ([first, PlacedRows(9, np.repeat(hidden, 2, 0))], f"image 1 stands where tokens are not {SOFT}"),
        ([first, PlacedRows(5, hidden)], "image 1 takes tokens 5 to 9 of 20, the one before it ends at 6"),
        ([first, PlacedRows(17, hidden)], "image 1 takes tokens 17 to 21 of 20"),
        ([PlacedRows(-1, hidden)], "image 0 takes tokens -1 to 3 of 20"),
        ([first, PlacedRows(9, hidden[:, 1:])], "image 1 has rows [4, 63], not [soft tokens, 64]"),
        ([first, PlacedRows(9, hidden[:0])], "image 1 has rows [0, 64], not [soft tokens, 64]"),
        ([first, PlacedRows(9, hidden[0])], "image 1 has rows [64], not [soft tokens, 64]"),
    ):
        with pytest.raises(SessionError, match=re.escape(words)):
            session.prefill_with_rows(tokens, images)
        assert session.position == 1
    np.testing.assert_array_equal(session.decode(7), expected)


def test_text_alone_is_refused_as_a_session_of_text_refuses_it(session: MultimodalSession) -> None:
    check_refusals(session)


def test_a_prompt_beyond_the_context_is_refused_whole(session: MultimodalSession) -> None:
    tokens = np.concatenate([prompt(), some_tokens(session.facts.context - 19)])
    with pytest.raises(SessionError, match=f"exceed the context of {session.facts.context}"):
        session.prefill_with_rows(tokens, two_images())
    assert session.position == 0


@pytest.mark.parametrize("form", MULTIMODAL_SESSIONS)
def test_a_closed_session_takes_no_images(form: Format, openings: Mapping[Format, EncoderOpening]) -> None:
    session = open_multimodal_session(openings[form])
    session.close()
    with pytest.raises(SessionError, match="the session is closed; open the artifact again"):
        session.prefill_with_rows(prompt(), [])


def test_a_bundle_needs_what_the_release_says_of_its_images(
    openings: Mapping[Format, EncoderOpening], tmp_path: Path
) -> None:
    """LiteRT-LM's own format has no place for it."""
    opening = openings["litertlm"]
    (tmp_path / opening.encoder.decoder).symlink_to(opening.release / opening.encoder.decoder)
    with pytest.raises(ProcessingError, match=r"image_processing\.json: no such file"):
        open_multimodal_session(replace(opening, release=tmp_path))
