from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from tokenizers import AddedToken, Tokenizer

from exporter.errors import TokenizerError, UsageError
from exporter.reference import texts as texts_module
from exporter.reference.calibration_text import calibration_text
from exporter.reference.texts import Texts, TokenisedText, load_tokenizer, read_text
from exporter.resources import data_directory
from tests.tiny import RandomSource, tiny_gemma3, write_tiny_tokenizer

EVALUATION = data_directory("samples") / "evaluation"


def test_pieces_are_joined_in_order_after_the_beginning_of_text(tmp_path: Path) -> None:
    write_tiny_tokenizer(tmp_path)
    (tmp_path / "b.txt").write_text("b\n")
    (tmp_path / "a.txt").write_text("a")
    tokenizer = load_tokenizer(tmp_path / "tokenizer.json")
    text = read_text(tmp_path, tokenizer, 2)
    assert text.tokens[0] == 2
    assert tokenizer.decode(text.tokens[1:].tolist()) == "a\n\nb"
    assert text.name == text.held == "a, b"


def test_a_text_says_which_of_its_pieces_it_still_has_when_it_is_cut(tmp_path: Path) -> None:
    write_tiny_tokenizer(tmp_path)
    tokenizer = load_tokenizer(tmp_path / "tokenizer.json")
    for name, words in (("1-one", "one two three"), ("2-two", "four"), ("3-three", "five six")):
        (tmp_path / f"{name}.txt").write_text(words)
    text = read_text(tmp_path, tokenizer, 2)
    first, second, third = text.pieces
    assert tokenizer.decode(text.tokens[second.first : third.first].tolist()).strip() == "four"
    assert text.cut(third.first).held == "1-one, 2-two"
    assert text.cut(third.first + 1).held == "1-one, 2-two, the beginning of 3-three"
    assert text.cut(first.stop - 1).held == text.cut(1).held == "the beginning of 1-one"


def test_a_text_of_one_piece_says_whether_it_is_whole() -> None:
    whole = Texts.of(RandomSource(tiny_gemma3())).tokenised("hindi", "some words of it")
    assert whole.held == "hindi"
    assert whole.cut(5).held == "the beginning of hindi"


def test_a_limit_cuts_the_text_and_changes_its_digest(tmp_path: Path) -> None:
    write_tiny_tokenizer(tmp_path)
    tokenizer = load_tokenizer(tmp_path / "tokenizer.json")
    whole = read_text(EVALUATION, tokenizer, 2)
    cut = whole.cut(50)
    assert len(cut.tokens) == 50
    assert np.array_equal(cut.tokens, whole.tokens[:50])
    assert cut.available == whole.available == len(whole.tokens)
    assert cut.sha256 != whole.sha256


def test_a_text_without_a_limit_stays_whole(tmp_path: Path) -> None:
    write_tiny_tokenizer(tmp_path)
    whole = read_text(EVALUATION, load_tokenizer(tmp_path / "tokenizer.json"), 2)
    assert whole.cut(None).sha256 == whole.sha256


def test_each_text_of_a_checkpoint_is_tokenised_once(monkeypatch: pytest.MonkeyPatch) -> None:
    read: list[str] = []

    def noted(directory: Path, tokenizer: Tokenizer, bos_token: int) -> TokenisedText:
        read.append(directory.name)
        return read_text(directory, tokenizer, bos_token)

    monkeypatch.setattr(texts_module, "read_text", noted)
    texts = Texts.of(RandomSource(tiny_gemma3()))
    for _ in range(3):
        assert texts.evaluation.tokens[0] == texts.bos_token
    assert read == ["evaluation"]


def test_a_prompt_begins_with_the_beginning_of_text() -> None:
    texts = Texts.of(RandomSource(tiny_gemma3()))
    prompt = texts.prompt("A prompt")
    assert prompt[0] == texts.bos_token
    assert texts.tokenizer.decode(prompt[1:].tolist()) == "A prompt"


class WithoutRow(RandomSource):
    """Its tokenizer has one token more than the embedding has rows."""

    def __init__(self, content: str) -> None:
        super().__init__(tiny_gemma3())
        self.content = content

    def write_tokenizer(self, directory: Path) -> None:
        super().write_tokenizer(directory)
        path = directory / "tokenizer.json"
        tokenizer = load_tokenizer(path)
        tokenizer.add_tokens([AddedToken(self.content, normalized=False)])
        assert tokenizer.token_to_id(self.content) == 512
        tokenizer.save(str(path))


def test_a_token_of_the_evaluation_text_without_a_row_is_refused_before_any_work() -> None:
    with pytest.raises(TokenizerError, match=r"evaluation text: holds token 512 \('the'\).* 512 rows"):
        Texts.of(WithoutRow("the"))


def test_a_token_without_a_row_is_refused_in_the_text_that_holds_it_alone() -> None:
    (hindi,) = (data_directory("samples") / "calibration").glob("*hindi.txt")
    source = WithoutRow(hindi.read_text(encoding="utf-8")[:3])
    texts = Texts.of(source)
    assert texts.prompt("A prompt")[0] == texts.bos_token
    with pytest.raises(TokenizerError, match="the hindi text: holds token 512"):
        calibration_text(source, texts)


def test_a_prompt_with_a_token_without_a_row_is_refused_by_its_words() -> None:
    texts = Texts.of(WithoutRow("<table>"))
    with pytest.raises(TokenizerError, match=r"the prompt 'a<table>': holds token 512 \('<table>'\)"):
        texts.prompt("a<table>")


def test_the_text_that_ships_is_prose_code_and_two_other_scripts() -> None:
    text = "".join(piece.read_text(encoding="utf-8") for piece in EVALUATION.glob("*.txt"))
    for first, last in (("a", "z"), ("ぁ", "ん"), ("一", "龥"), ("ء", "ي")):
        assert sum(first <= letter <= last for letter in text) > 50, (first, last)
    assert "def " in text


def test_a_directory_without_text_is_refused(tmp_path: Path) -> None:
    write_tiny_tokenizer(tmp_path)
    with pytest.raises(UsageError, match=r"no \.txt"):
        read_text(tmp_path, load_tokenizer(tmp_path / "tokenizer.json"), 2)


def test_a_damaged_tokenizer_is_refused_by_its_path(tmp_path: Path) -> None:
    (tmp_path / "tokenizer.json").write_text("{}")
    with pytest.raises(TokenizerError, match=r"tokenizer\.json: cannot be read"):
        load_tokenizer(tmp_path / "tokenizer.json")


def test_a_tokenizer_that_was_saved_cutting_and_padding_does_neither(tmp_path: Path) -> None:
    write_tiny_tokenizer(tmp_path)
    saved = load_tokenizer(tmp_path / "tokenizer.json")
    saved.enable_truncation(4)
    saved.enable_padding(length=64)
    saved.save(str(tmp_path / "tokenizer.json"))
    found = load_tokenizer(tmp_path / "tokenizer.json").encode("longer than four").ids
    assert 4 < len(found) < 64
