"""The two most likely tokens are found however the vocabulary is cut into blocks."""

from __future__ import annotations

import numpy as np
import pytest

from exporter.reference.leads import TopTwo


@pytest.mark.parametrize("width", [1, 2, 7, 50])
def test_choices_and_leads_do_not_depend_on_the_blocks(width: int) -> None:
    logits = np.random.default_rng(0).standard_normal((20, 50)).astype(np.float32)
    sink = TopTwo(20)
    for start in range(0, 50, width):
        sink.take(start, logits[:, start : start + width])
    found = sink.decisions()
    np.testing.assert_array_equal(found.choices, logits.argmax(-1))
    ordered = np.sort(logits, axis=-1)
    np.testing.assert_array_equal(found.leads, ordered[:, -1] - ordered[:, -2])


@pytest.mark.parametrize("width", [1, 2, 3])
def test_of_equals_the_lower_token_is_chosen_and_has_no_lead(width: int) -> None:
    logits = np.array([[1.0, 4.0, 4.0], [4.0, 1.0, 4.0]], np.float32)
    sink = TopTwo(2)
    for start in range(0, 3, width):
        sink.take(start, logits[:, start : start + width])
    assert sink.decisions().choices.tolist() == [1, 0]
    assert sink.decisions().leads.tolist() == [0.0, 0.0]


def test_the_first_positions_are_kept_together_with_their_leads() -> None:
    sink = TopTwo(2)
    sink.take(0, np.array([[0.0, 3.0], [5.0, 1.0]], np.float32))
    first = sink.decisions().first(1)
    assert (first.choices.tolist(), first.leads.tolist()) == ([1], [3.0])
