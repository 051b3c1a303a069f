"""Parameters in words."""

from __future__ import annotations

import pytest

from exporter.parameter_count import parameters


@pytest.mark.parametrize(
    ("count", "words"),
    [
        (2_614_341_888, "2,614 M parameters"),
        (416_866_032, "417 M parameters"),
        (2_954_112, "3.0 M parameters"),
        (45_312, "45,312 parameters"),
        (1, "1 parameter"),
    ],
)
def test_no_count_is_nought_in_words(count: int, words: str) -> None:
    assert parameters(count) == words
