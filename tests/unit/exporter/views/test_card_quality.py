"""What a card says of quality."""

from __future__ import annotations

from exporter.views.card_quality import measured_quality
from tests.golden.reports import passing


def test_a_catalogue_is_told_the_languages_that_were_compared_one_by_one() -> None:
    assert measured_quality(passing()).languages == ("en", "hi", "ja")


def test_the_text_is_named_with_what_of_it_was_compared() -> None:
    assert (
        measured_quality(passing()).text == "1-english, 2-japanese, the beginning of 3-code: 1,536 tokens"
    )
