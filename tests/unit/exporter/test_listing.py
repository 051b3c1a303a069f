"""Words in a row as a sentence has them."""

from __future__ import annotations

import pytest

from exporter.listing import listed


@pytest.mark.parametrize(
    ("words", "found"), [(["a"], "a"), (["a", "b"], "a and b"), (("a", "b", "c"), "a, b and c")]
)
def test_commas_stand_between_all_but_the_last_two(words: list[str], found: str) -> None:
    assert listed(words) == found
