"""Images in a prompt's text: where its placeholders are, or before it; what is not clear is refused.

Not about transformers, whose processors `tests/parity/test_image_prompts.py` compares tokens with.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
from tokenizers import Tokenizer

from exporter.checkpoints.tokenizer.image_spelling import ImageSpelling
from exporter.errors import TokenizerError, UsageError
from tests.image_speech import GEMMA_3, GEMMA_4, write_image_speech

IMAGE = {"type": "image"}


@pytest.fixture(scope="module")
def tokenizer(tmp_path_factory: pytest.TempPathFactory) -> Tokenizer:
    place = tmp_path_factory.mktemp("tokenizer")
    write_image_speech(Path(place), GEMMA_3)
    return Tokenizer.from_file(str(Path(place) / "tokenizer.json"))


@pytest.fixture
def spelling(tokenizer: Tokenizer) -> ImageSpelling:
    return ImageSpelling.of(GEMMA_3.marks, tokenizer)


def test_images_come_before_a_text_that_has_no_place_for_them(spelling: ImageSpelling) -> None:
    assert spelling.parts("hi", 2) == [IMAGE, IMAGE, {"type": "text", "text": "hi"}]
    assert spelling.begun("hi", 2) == "<start_of_image> <start_of_image> hi"
    assert spelling.begun("", 1) == "<start_of_image>"


def test_images_go_where_a_text_has_placeholders(spelling: ImageSpelling) -> None:
    text = "<start_of_image>or <start_of_image>?"
    said = [{"type": "text", "text": each} for each in ("or ", "?")]
    assert spelling.parts(text, 2) == [IMAGE, said[0], IMAGE, said[1]]
    assert spelling.begun(text, 2) == text


@pytest.mark.parametrize("images", [1, 3])
def test_placeholders_that_are_not_one_for_each_image_are_refused(
    images: int, spelling: ImageSpelling
) -> None:
    for place in (spelling.parts, spelling.begun):
        with pytest.raises(UsageError, match=rf"has 2 times <start_of_image>, and {images} image"):
            place("<start_of_image> <start_of_image>", images)


def test_gemma_3_has_line_breaks_around_an_image_and_gemma_4_has_none(spelling: ImageSpelling) -> None:
    soft = "<image_soft_token>" * 2
    assert spelling.expanded("a<start_of_image>b", (2,)) == (
        f"a\n\n<start_of_image>{soft}<end_of_image>\n\nb"
    )
    other = ImageSpelling(GEMMA_4.marks, "<|image|>", "<|image>", "<image|>")
    assert other.expanded("<|image|><|image|>", (1, 2)) == (
        "<|image><|image|><image|><|image><|image|><|image|><image|>"
    )


def test_a_template_that_leaves_images_out_is_refused(spelling: ImageSpelling) -> None:
    with pytest.raises(
        TokenizerError, match=r"writes 0 times <start_of_image> for 1 image;.*--no-template"
    ):
        spelling.expanded("hello", (4,))


def test_each_image_begins_where_its_rows_go(spelling: ImageSpelling) -> None:
    assert spelling.starts([2, 300, 302, 302, 301, 300, 302, 301], (2, 1)) == (2, 6)


@pytest.mark.parametrize("tokens", [[302, 300, 302, 302, 301], [300, 302, 301, 302]])
def test_a_text_that_itself_writes_soft_tokens_is_refused(
    tokens: list[int], spelling: ImageSpelling
) -> None:
    with pytest.raises(UsageError, match="holds <image_soft_token>"):
        spelling.starts(tokens, (2,))


def test_a_tokenizer_that_knows_a_mark_not_is_refused(tokenizer: Tokenizer) -> None:
    with pytest.raises(TokenizerError, match="has no token 99999"):
        ImageSpelling.of(replace(GEMMA_3.marks, end=99_999), tokenizer)


def test_a_mark_that_no_text_is_cut_into_is_refused(tokenizer: Tokenizer) -> None:
    byte = tokenizer.token_to_id("<0x47>")
    assert byte is not None
    with pytest.raises(TokenizerError, match=f"has no token {byte}"):
        ImageSpelling.of(replace(GEMMA_3.marks, soft=byte), tokenizer)


def test_a_placeholder_that_is_none_of_the_marks_is_refused(tokenizer: Tokenizer) -> None:
    with pytest.raises(TokenizerError, match="placeholder 'W' is none of <image_soft_token>"):
        ImageSpelling.of(replace(GEMMA_3.marks, placeholder="W"), tokenizer)
