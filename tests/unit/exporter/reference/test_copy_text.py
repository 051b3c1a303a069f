"""Every question is about a fact so far back, and a beginning of the text is a text of its own."""

from __future__ import annotations

import numpy as np
import pytest

from exporter.reference.copy_text import DISTANCES, CopyText, copying_text
from exporter.reference.texts import Texts
from tests.tiny import RandomSource, tiny_gemma3

FAR = (600, 900)  # all facts in a tiny tokenizer's bytes take less


@pytest.fixture(scope="module")
def texts() -> Texts:
    return Texts.of(RandomSource(tiny_gemma3()))


@pytest.fixture(scope="module")
def far(texts: Texts) -> CopyText:
    return copying_text(texts, FAR)


def test_every_answer_stands_in_the_text_exactly_its_distance_before(far: CopyText) -> None:
    assert {answer.distance for answer in far.answers} == set(FAR)
    for answer in far.answers:
        asked = far.tokens[answer.begin : answer.end]
        stood = far.tokens[answer.begin - answer.distance : answer.end - answer.distance]
        assert len(asked) > 4, "byte tokens"
        np.testing.assert_array_equal(asked, stood)


def test_questions_ask_for_digits_and_something_else_and_no_two_are_alike(texts: Texts) -> None:
    text = copying_text(texts)
    assert text.distances == DISTANCES
    assert {answer.kind for answer in text.answers} == {"digits", "name", "date", "key"}
    for distance in DISTANCES:
        own = [answer.kind for answer in text.answers if answer.distance == distance]
        assert own.count("digits") == 1
        assert len(own) == 2
    questions = {bytes(text.tokens[each.begin - 20 : each.begin].tobytes()) for each in text.answers}
    assert len(questions) == len(text.answers)


def test_the_same_seed_makes_the_same_text(texts: Texts) -> None:
    np.testing.assert_array_equal(copying_text(texts).tokens, copying_text(texts).tokens)


def test_positions_are_those_before_the_answers_tokens(far: CopyText) -> None:
    wanted = np.concatenate([far.tokens[each.begin : each.end] for each in far.answers])
    np.testing.assert_array_equal(far.true, wanted)
    np.testing.assert_array_equal(far.tokens[far.positions + 1], wanted)
    covered = [range(each.first, each.end) for each in far.stretches()]
    assert all(any(int(position) in stretch for stretch in covered) for position in far.positions)
    nearer = [each.end - each.begin for each in far.answers if each.distance == FAR[0]]
    assert far.of(FAR[0]).sum() == sum(nearer)


def test_a_shorter_context_has_the_beginning_with_the_nearer_facts(far: CopyText) -> None:
    end = max(answer.end for answer in far.answers if answer.distance == FAR[0])
    held = far.within(end)
    assert held is not None
    assert held.distances == FAR[:1]
    np.testing.assert_array_equal(held.tokens, far.tokens[:end])
    np.testing.assert_array_equal(held.positions, far.positions[: len(held.positions)])
    assert far.within(end - 1) is None
    whole = far.within(len(far.tokens))
    assert whole is not None
    assert whole.distances == FAR
