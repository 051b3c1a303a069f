"""Whatever the size of a picture and the budget: never more soft tokens, whole squares, its aspect."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from runtimes.images.preparing import squares_within

SIDES = st.integers(1, 100_000)


@given(SIDES, SIDES, st.integers(1, 1120), st.sampled_from([6, 48]))
def test_a_picture_never_makes_more_squares_than_the_budget(
    width: int, height: int, most: int, side: int
) -> None:
    across, down = squares_within(width, height, side, most)
    assert across >= 1
    assert down >= 1
    assert across * down <= most


@given(SIDES, SIDES, st.sampled_from([70, 140, 280, 560, 1120]))
def test_a_turned_picture_makes_turned_squares(width: int, height: int, most: int) -> None:
    assert squares_within(width, height, 48, most) == squares_within(height, width, 48, most)[::-1]


@given(st.integers(100, 4000), st.integers(100, 4000), st.sampled_from([280, 560, 1120]))
def test_no_larger_picture_of_its_aspect_would_fit(width: int, height: int, most: int) -> None:
    across, down = squares_within(width, height, 48, most)
    if min(across, down) > 1:
        assert (across + 1) * (down + 1) > most
        assert abs(width / height - across / down) <= (width / height) * (1 / across + 1 / down)
