"""Images and sounds in a prompt's text: where its placeholders are, or before it; what is not clear is
refused.

Not about transformers, whose processors `tests/parity/test_media_prompts.py` compares tokens with.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
from tokenizers import Tokenizer

from exporter.checkpoints.tokenizer.media_spelling import MediaPlace, MediaRows, MediaSpelling, Spelling
from exporter.errors import TokenizerError, UsageError
from tests.media_speech import GEMMA_3, GEMMA_4, MediaSpeech, write_media_speech

IMAGE, SOUND = {"type": "image"}, {"type": "audio"}


def tokenizer_of(directory: Path, speech: MediaSpeech) -> Tokenizer:
    write_media_speech(directory, speech)
    return Tokenizer.from_file(str(directory / "tokenizer.json"))


@pytest.fixture(scope="module")
def tokenizer(tmp_path_factory: pytest.TempPathFactory) -> Tokenizer:
    return tokenizer_of(tmp_path_factory.mktemp("tokenizer"), GEMMA_3)


@pytest.fixture
def spelling(tokenizer: Tokenizer) -> MediaSpelling:
    return MediaSpelling.of({"image": GEMMA_3.marks}, tokenizer)


@pytest.fixture(scope="module")
def both(tmp_path_factory: pytest.TempPathFactory) -> MediaSpelling:
    """Of a Gemma 4 that sees and hears."""
    assert GEMMA_4.sounds is not None
    tokenizer = tokenizer_of(tmp_path_factory.mktemp("tokenizer"), GEMMA_4)
    return MediaSpelling.of({"image": GEMMA_4.marks, "sound": GEMMA_4.sounds}, tokenizer)


def said(text: str) -> dict[str, str]:
    return {"type": "text", "text": text}


def test_images_come_before_a_text_that_has_no_place_for_them(spelling: MediaSpelling) -> None:
    assert spelling.parts("hi", {"image": [4, 4]}) == [IMAGE, IMAGE, said("hi")]
    assert spelling.begun("hi", {"image": [4, 4]}) == "<start_of_image> <start_of_image> hi"
    assert spelling.begun("", {"image": [4]}) == "<start_of_image>"


def test_images_go_where_a_text_has_placeholders(spelling: MediaSpelling) -> None:
    text = "<start_of_image>or <start_of_image>?"
    rows: MediaRows = {"image": [4, 4]}
    assert spelling.parts(text, rows) == [IMAGE, said("or "), IMAGE, said("?")]
    assert spelling.begun(text, rows) == text


def test_sounds_come_behind_images_and_before_the_text(both: MediaSpelling) -> None:
    rows: MediaRows = {"image": [4], "sound": [3, 2]}
    assert both.parts("hi", rows) == [IMAGE, SOUND, SOUND, said("hi")]
    assert both.begun("hi", rows) == "<|image|> <|audio|> <|audio|> hi"


def test_of_two_kinds_one_may_have_places_and_the_other_come_before(both: MediaSpelling) -> None:
    rows: MediaRows = {"image": [4], "sound": [3]}
    assert both.parts("Is <|audio|> in it?", rows) == [IMAGE, said("Is "), SOUND, said(" in it?")]
    assert both.begun("Is <|image|> loud?", rows) == "<|audio|> Is <|image|> loud?"
    assert both.parts("<|audio|><|image|>", rows) == [SOUND, IMAGE]


@pytest.mark.parametrize("images", [1, 3])
def test_placeholders_that_are_not_one_for_each_image_are_refused(
    images: int, spelling: MediaSpelling
) -> None:
    for place in (spelling.parts, spelling.begun):
        with pytest.raises(UsageError, match=rf"has 2 times <start_of_image>, and {images} image"):
            place("<start_of_image> <start_of_image>", {"image": [4] * images})


def test_gemma_3_has_line_breaks_around_an_image(spelling: MediaSpelling) -> None:
    soft = "<image_soft_token>" * 2
    assert spelling.expanded("a<start_of_image>b", {"image": [2]}) == (
        f"a\n\n<start_of_image>{soft}<end_of_image>\n\nb"
    )


def test_gemma_4_has_none_and_each_kind_has_its_own_rows_in_order(both: MediaSpelling) -> None:
    assert both.expanded("<|image|><|audio|><|image|>", {"image": [1, 2], "sound": [3]}) == (
        "<|image><|image|><image|>"
        "<|audio><|audio|><|audio|><|audio|><audio|>"
        "<|image><|image|><|image|><image|>"
    )


def test_a_template_that_leaves_images_or_sounds_out_is_refused(
    spelling: MediaSpelling, both: MediaSpelling
) -> None:
    with pytest.raises(
        TokenizerError, match=r"writes 0 times <start_of_image> for 1 image;.*--no-template"
    ):
        spelling.expanded("hello", {"image": [4]})
    with pytest.raises(TokenizerError, match=r"writes 1 times <\|audio\|> for 0 sounds"):
        both.expanded("<|image|><|audio|>", {"image": [4]})


def test_each_image_and_sound_begins_where_its_rows_go(both: MediaSpelling) -> None:
    tokens = [2, 300, 302, 302, 301, 304, 306, 305, 300, 302, 301]
    found = both.places(tokens, {"image": [2, 1], "sound": [1]})
    assert found == (MediaPlace("image", 2), MediaPlace("sound", 6), MediaPlace("image", 9))


@pytest.mark.parametrize("tokens", [[302, 300, 302, 302, 301], [300, 302, 301, 302]])
def test_a_text_that_itself_writes_soft_tokens_is_refused(
    tokens: list[int], spelling: MediaSpelling
) -> None:
    with pytest.raises(UsageError, match=r"holds <image_soft_token>.*seen of an image"):
        spelling.places(tokens, {"image": [2]})


def test_a_soft_token_of_a_kind_that_was_not_given_is_refused(both: MediaSpelling) -> None:
    with pytest.raises(UsageError, match=r"holds <\|audio\|>, which stands for what is heard of a sound"):
        both.places([300, 302, 301, 306], {"image": [1]})


def test_a_tokenizer_that_knows_a_mark_not_is_refused(tokenizer: Tokenizer) -> None:
    with pytest.raises(TokenizerError, match=r"has no token 99999, a mark of images in image_proc"):
        Spelling.of("image", replace(GEMMA_3.marks, end=99_999), tokenizer)
    assert GEMMA_4.sounds is not None
    with pytest.raises(TokenizerError, match=r"a mark of sounds in sound_processing.json"):
        Spelling.of("sound", replace(GEMMA_4.sounds, soft=99_999), tokenizer)


def test_a_mark_that_no_text_is_cut_into_is_refused(tokenizer: Tokenizer) -> None:
    byte = tokenizer.token_to_id("<0x47>")
    assert byte is not None
    with pytest.raises(TokenizerError, match=f"has no token {byte}"):
        Spelling.of("image", replace(GEMMA_3.marks, soft=byte), tokenizer)


def test_a_placeholder_that_is_none_of_the_marks_is_refused(tokenizer: Tokenizer) -> None:
    with pytest.raises(TokenizerError, match="placeholder 'W' is none of <image_soft_token>"):
        Spelling.of("image", replace(GEMMA_3.marks, placeholder="W"), tokenizer)


def test_images_and_sounds_that_are_written_alike_are_refused(tmp_path: Path) -> None:
    assert GEMMA_4.sounds is not None
    alike = replace(GEMMA_4.sounds, soft=302, placeholder="<|image|>")
    with pytest.raises(TokenizerError, match=r"and sound_processing.json have the same id for a row"):
        MediaSpelling.of({"image": GEMMA_4.marks, "sound": alike}, tokenizer_of(tmp_path, GEMMA_4))
